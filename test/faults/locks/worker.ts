/**
 * Contender for one lock: acquires, writes to the fenced sink and releases, until it is ordered to stop. Runs in a
 * process of its own that tests kill, stop and cut off; reports every event of its history as it writes it down.
 */
import { systemClock } from 'concordat/core'
import type { Lease, Locks } from 'concordat/locks'
import { codeOf, describe } from '../harness/errors.ts'
import { EventLoop } from '../harness/event-loop.ts'
import { EventLog, nowMs } from '../harness/events.ts'
import { Random } from '../harness/random.ts'
import { openSinks, type SinkClient } from '../harness/sinks.ts'
import { openGuarded } from '../store/guarded.ts'
import { openLocks } from '../store/open.ts'
import type { Place } from '../store/orders.ts'
import { serve, type Work } from '../store/serve.ts'
import { STALL_MARGIN_MS, TTL_MS } from '../store/sizes.ts'
import { MISTAKES, releaseWithoutCheck } from './broken.ts'
import { type LockSettings, PERMITS, WAIT_MS } from './settings.ts'

const BELIEF_EVERY_MS = 20
/** Time for which a worker without checks continues after its lease, unless a fence refuses first. */
const LATE_WRITES_MS = 3_000

class Contender implements Work {
  readonly #place: Place
  readonly #settings: LockSettings
  readonly #log: EventLog
  readonly #random: Random
  readonly #locks: Locks
  readonly #sinks: readonly SinkClient[]
  readonly #stop = new AbortController()
  readonly #eventLoop = new EventLoop()
  #going = Promise.withResolvers<void>()
  #lingers = false
  #turns = 0
  #running: Promise<void> | undefined

  constructor(place: Place, settings: LockSettings) {
    this.#place = place
    this.#settings = settings
    this.#random = new Random(place.seed)
    this.#log = new EventLog(place.history, place.process, (event) => void process.send?.(event))
    const { storeUrl, prefix, broken } = place
    this.#locks = openLocks(storeUrl, {
      prefix,
      owner: place.process,
      heartbeatMs: settings.heartbeatMs,
      stallMarginMs: STALL_MARGIN_MS,
      restartGraceMs: settings.restartGraceMs,
      ...(broken === undefined ? {} : MISTAKES[broken]?.(storeUrl)),
    })
    this.#sinks = [...openSinks(place.sinks, broken !== 'no-fence'), ...openGuarded(place, settings.thinksMs)]
  }

  note(op: string, error?: unknown): void {
    this.#log.note(op, error === undefined ? {} : { error: describe(error) })
  }

  go(): void {
    this.#running ??= this.#run()
    this.#going.resolve()
  }

  holdOff(): void {
    this.#going = Promise.withResolvers<void>()
  }

  linger(lingers: boolean): void {
    this.#lingers = lingers
  }

  async stop(): Promise<void> {
    this.#lingers = false
    this.#stop.abort(new Error('stopped'))
    this.#going.resolve()
    await this.#running
    this.#log.note('stopped')
  }

  async close(): Promise<void> {
    await this.stop()
    await this.#locks.close()
    await Promise.all(this.#sinks.map((sink) => sink.close()))
    this.#eventLoop.close()
    this.#log.note('closed')
    this.#log.close()
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await this.#going.promise
      await systemClock.sleep(this.#random.between(0, 15), this.#stop.signal).catch(() => {})
      if (!this.#stop.signal.aborted) await this.#turn()
    }
  }

  async #turn(): Promise<void> {
    const { key } = this.#place
    const grant = `${this.#log.process}/${++this.#turns}`
    const mode = this.#mode()
    const end = this.#log.invoke('acquire', { key, grant, mode: mode.name })
    let lease: Lease
    try {
      const signal = this.#stop.signal
      lease = await this.#locks.acquire(key, { ttlMs: TTL_MS, waitMs: WAIT_MS, signal, ...mode.options })
    } catch (error) {
      end(wasMaybeDone(error) ? 'info' : 'fail', { error: describe(error) })
      await systemClock.sleep(20)
      return
    }
    end('ok', { token: lease.token, until: nowMs() + lease.remainingMs() })
    const watch = this.#watch(lease, grant)
    try {
      await this.#section(lease, grant, mode.name === 'shared')
    } finally {
      watch.stop()
    }
    await this.#release(lease, grant)
    watch.afterwards()
  }

  #mode(): { readonly name: string; readonly options: object } {
    switch (this.#settings.mode) {
      case 'exclusive':
        return { name: 'exclusive', options: {} }
      case 'permits':
        return { name: 'permit', options: { permits: PERMITS } }
      case 'readers and writers': {
        const name = this.#random.chance(0.6) ? 'shared' : 'exclusive'
        return { name, options: { mode: name } }
      }
      default:
        return this.#settings.mode satisfies never
    }
  }

  /** Writes down the holder's belief every few ms, and each reported loss. */
  #watch(lease: Lease, grant: string): { stop(): void; afterwards(): void } {
    const { token } = lease
    const look = (): void => {
      this.#log.note('belief', { grant, token, until: nowMs() + lease.remainingMs(), state: lease.state })
    }
    const timer = setInterval(look, BELIEF_EVERY_MS)
    const onLost = (): void => {
      const stalledMs = this.#eventLoop.longestStallMs(TTL_MS * 3)
      this.#log.note('lost', { grant, token, stalledMs, state: lease.state, text: describe(lease.signal.reason) })
    }
    lease.signal.addEventListener('abort', onLost, { once: true })
    return { stop: () => clearInterval(timer), afterwards: look }
  }

  async #section(lease: Lease, grant: string, reads: boolean): Promise<void> {
    const steps = this.#random.between(2, 4)
    let lateSince: number | undefined
    let announced = false
    for (let step = 0; step < steps || this.#lingers; step += 1) {
      const asks = this.#settings.asks === 'always' || (this.#settings.asks === 'sometimes' && this.#random.chance(0.5))
      if (asks && !this.#believes(lease, grant)) return
      // Readers and those with a permit share the key: their writes have no order that a fence could keep.
      if (!reads && this.#settings.mode !== 'permits') {
        const isLate = lease.state !== 'held'
        if ((await this.#write(lease.token, grant, asks)) === 'refused') return
        if (isLate && nowMs() > (lateSince ??= nowMs()) + LATE_WRITES_MS) return
      } else if (lease.state !== 'held') return
      if (this.#lingers && !announced) {
        announced = true
        this.#log.note('lingers', { grant, token: lease.token })
      }
      await systemClock.sleep(this.#random.between(2, 8))
    }
  }

  #believes(lease: Lease, grant: string): boolean {
    try {
      lease.assertValid()
      return true
    } catch (error) {
      this.#log.note('assertValid refused', { grant, token: lease.token, error: describe(error) })
      return false
    }
  }

  /** Writes to every sink; the first refusal ends it. */
  async #write(token: number, grant: string, asked: boolean): Promise<'accepted' | 'refused'> {
    const { key } = this.#place
    for (const sink of this.#sinks) {
      const write = `${grant}/${Math.round(nowMs() * 1_000)}`
      const end = this.#log.invoke('write', { key, grant, token, sink: sink.name, text: write, asked })
      try {
        await sink.write(key, token, grant, write)
        end('ok')
      } catch (error) {
        const refused = codeOf(error) === 'locks.fence_rejected'
        end(refused ? 'fail' : 'info', { error: describe(error), outcome: refused ? 'refused' : 'unknown' })
        if (refused) return 'refused'
      }
      // The answer of assertValid covered the first write only.
      asked = false
    }
    return 'accepted'
  }

  async #release(lease: Lease, grant: string): Promise<void> {
    const { broken, prefix, key, storeUrl } = this.#place
    const careless = broken === 'release-without-check' && lease.state !== 'held'
    const end = this.#log.invoke('release', { key, grant, token: lease.token })
    try {
      const outcome = careless ? await releaseWithoutCheck(storeUrl, prefix, lease, this.#locks) : await lease.release()
      end(outcome === 'unconfirmed' ? 'info' : 'ok', { outcome })
    } catch (error) {
      end('info', { error: describe(error) })
    }
  }
}

/** Whether the write may have happened: only these errors are certain failures; any other is unknown. */
function wasMaybeDone(error: unknown): boolean {
  if (error instanceof Error && error.message === 'stopped') return false
  if (codeOf(error) === 'locks.store_unavailable') return (error as { outcome?: string }).outcome !== 'not_done'
  return !['locks.timeout', 'locks.busy'].includes(codeOf(error))
}

serve((place, settings) => new Contender(place, settings as LockSettings))
