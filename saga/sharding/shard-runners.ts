/** Runs the coordinators of all shards: one whose database is unavailable does not block the others. */
import { SECOND } from '../../core/clock.ts'
import { isRetryable, toError } from '../../core/errors.ts'
import { RepeatedFailureLog } from '../../core/repeated-failure-log.ts'
import type { RunOptions, SagaCoordinator } from '../coordinator/coordinator.ts'
import type { SagaHealth } from '../coordinator/health.ts'
import type { KnownLayouts } from './known-layouts.ts'
import type { ResolvedSharding } from './options.ts'
import type { ShardedHealth } from './sharded-coordinator.ts'

const AGAIN_MS = 1 * SECOND

export class ShardRunners {
  readonly #options: ResolvedSharding
  readonly #all: ReadonlyMap<string, SagaCoordinator>
  readonly #layouts: KnownLayouts
  readonly #stopping = new AbortController()
  /** Reasons why shards are not driven, by shard. */
  readonly #problems = new Map<string, Error>()
  readonly #later = new Map<string, Promise<void>>()

  constructor(options: ResolvedSharding, all: ReadonlyMap<string, SagaCoordinator>, layouts: KnownLayouts) {
    this.#options = options
    this.#all = all
    this.#layouts = layouts
  }

  /** Resolves when every available shard is driven. @throws the error of `run` of a shard, unless its database is unavailable */
  async run(options: RunOptions): Promise<void> {
    await this.#layouts.open()
    const outcomes = await Promise.allSettled([...this.#all.keys()].map((name) => this.#begin(name, options)))
    const failed = outcomes.find((outcome) => outcome.status === 'rejected')
    if (failed !== undefined) throw failed.reason
    for (const name of this.#problems.keys()) {
      if (!this.#later.has(name)) this.#later.set(name, this.#retry(name, options))
    }
  }

  health(closed: boolean): ShardedHealth {
    const shards: Record<string, SagaHealth> = {}
    for (const [name, coordinator] of this.#all) shards[name] = this.#healthOf(name, coordinator.health())
    const each = Object.values(shards)
    const error = each.find((health) => health.error !== undefined)?.error
    return {
      status: closed ? 'closed' : statusOf(each),
      ...(error !== undefined && { error }),
      takes: this.#layouts.newest,
      inHand: each.reduce((total, { inHand }) => total + inHand, 0),
      open: sum(each.map(({ open }) => open)),
      stuck: sum(each.map(({ stuck }) => stuck)),
      shards,
    }
  }

  async close(): Promise<void> {
    this.#stopping.abort()
    await Promise.all([...this.#all.values()].map((coordinator) => coordinator.close()))
  }

  /** @throws errors that do not resolve by themselves; others are retried */
  async #begin(name: string, options: RunOptions): Promise<void> {
    try {
      await this.#drive(name, options)
    } catch (error) {
      if (!isRetryable(error)) throw error
      this.#problems.set(name, toError(error))
    }
  }

  async #drive(name: string, options: RunOptions): Promise<void> {
    // The pool may lead to another database than the configured one.
    await this.#layouts.look(name)
    await this.#all.get(name)?.run(options)
    this.#problems.delete(name)
  }

  async #retry(name: string, options: RunOptions): Promise<void> {
    const { clock, logger } = this.#options
    const { signal } = this.#stopping
    const trouble = new RepeatedFailureLog(logger, 'shard not driven, trying again', 'shard driven')
    trouble.failed(this.#problems.get(name), { shard: name })
    while (this.#problems.has(name)) {
      await clock.sleep(AGAIN_MS, signal).catch(() => {})
      if (signal.aborted) return
      try {
        await this.#drive(name, options)
        trouble.over()
      } catch (error) {
        this.#problems.set(name, toError(error))
        trouble.failed(toError(error), { shard: name })
      }
    }
    this.#later.delete(name)
  }

  #healthOf(name: string, health: SagaHealth): SagaHealth {
    const problem = this.#problems.get(name)
    return problem === undefined ? health : { ...health, status: 'down', error: problem.message }
  }
}

/** Adds counts; unknown if one of them is. */
function sum(counts: ReadonlyArray<number | undefined>): number | undefined {
  return counts.reduce<number | undefined>(
    (total, count) => (total === undefined || count === undefined ? undefined : total + count),
    0,
  )
}

function statusOf(shards: readonly SagaHealth[]): ShardedHealth['status'] {
  const up = shards.filter(({ status }) => status === 'up').length
  if (up === shards.length) return 'up'
  if (up > 0 || shards.some(({ status }) => status === 'degraded')) return 'degraded'
  return shards.some(({ status }) => status === 'down') ? 'down' : 'idle'
}
