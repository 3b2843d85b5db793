import { createSharedState, type SharedState } from 'concordat/cluster'
import { systemClock } from 'concordat/core'
import type { ClusterStore } from 'concordat/extension'
import type { StateEvent } from '../../support/inside/election.ts'
import { codeOf, describe } from '../harness/errors.ts'
import type { EventLog } from '../harness/events.ts'
import type { Random } from '../harness/random.ts'

/**
 * Reads, writes, compares and sets, and deletes a few shared keys, one after the other, and writes down the changes it
 * sees.
 */
export class StateUser {
  readonly #state: SharedState<number>
  readonly #log: EventLog
  readonly #random: Random
  readonly #name: string
  readonly #stop = new AbortController()
  /** Last version seen for each key, to compare with. */
  readonly #seen = new Map<string, number>()
  #writes = 0
  #running: Promise<void> | undefined

  constructor(store: ClusterStore, log: EventLog, random: Random, name: string) {
    this.#state = createSharedState<number>({ store, name: 'faults', retryForMs: 500 })
    this.#log = log
    this.#random = random
    this.#name = name
    this.#state.watch((event) => this.#heard(event))
  }

  go(): void {
    this.#running ??= this.#run()
  }

  async stop(): Promise<void> {
    this.#stop.abort(new Error('stopped'))
    await this.#running
  }

  async close(): Promise<void> {
    await this.stop()
    await this.#state.close()
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await systemClock.sleep(this.#random.between(20, 60), this.#stop.signal).catch(() => {})
      if (!this.#stop.signal.aborted) await this.#step(this.#random.pick(['a', 'b']))
    }
  }

  async #step(key: string): Promise<void> {
    const kind = this.#random.pick(['read', 'read', 'write', 'compare', 'compare', 'delete'] as const)
    if (kind === 'read') return this.#read(key)
    const value = kind === 'delete' ? undefined : Number(this.#name.replace(/\D/g, '')) * 100_000 + ++this.#writes
    const expected = kind === 'write' ? undefined : (this.#seen.get(key) ?? 0)
    const end = this.#log.invoke('state', { key, value, expected, does: 'write' })
    try {
      const options = expected === undefined ? {} : { ifVersion: expected }
      if (value === undefined) {
        const { version, changed } = await this.#state.delete(key, options)
        this.#seen.set(key, 0)
        return end('ok', changed ? { version } : { outcome: 'nothing there' })
      }
      const { version } = await this.#state.put(key, value, options)
      this.#seen.set(key, version)
      end('ok', { version })
    } catch (error) {
      if (codeOf(error) === 'cluster.state_conflict') end('ok', { outcome: 'conflict' })
      else end(isNotDone(error) ? 'fail' : 'info', { error: describe(error) })
    }
  }

  async #read(key: string): Promise<void> {
    const end = this.#log.invoke('state', { key, does: 'read' })
    try {
      const { value, version } = await this.#state.get(key)
      this.#seen.set(key, value === undefined ? 0 : version)
      end('ok', { value, version })
    } catch (error) {
      end('fail', { error: describe(error) })
    }
  }

  #heard(event: StateEvent<number>): void {
    const { type, version } = event
    if (type === 'snapshot') this.#log.note('state heard', { event: type, version, reason: event.reason })
    else
      this.#log.note('state heard', {
        event: type,
        version,
        changes: event.changes.map(({ key, value }) => [key, value]),
      })
  }
}

function isNotDone(error: unknown): boolean {
  return (error as { outcome?: unknown }).outcome === 'not_done'
}
