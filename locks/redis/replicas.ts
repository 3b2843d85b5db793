import { counted } from '../../core/counted-noun.ts'
import { requireInteger } from '../../core/errors.ts'
import { optionNames, refuseUnknown } from '../../core/option-checks.ts'
import {
  type ConnectionSettings,
  RedisConnection,
  type Script,
  type ScriptRunner,
} from '../../core/redis/connection.ts'
import { LockError } from '../errors.ts'

/** Number of replicas that must have a grant before it counts. */
export interface ReplicaOptions {
  /**
   * Number of replicas, at least 1. Only the number of all replicas that may be promoted ensures that the promoted one has it.
   */
  readonly count: number
  /** Maximum wait of a grant for the replicas. Keep it well below the ttl. @default 100 ms */
  readonly timeoutMs?: number | undefined
}

const NAMES = optionNames<ReplicaOptions>({ count: true, timeoutMs: true })

interface Call {
  readonly script: Script
  readonly keys: readonly string[]
  readonly args: readonly (string | number)[]
  readonly resolve: (reply: unknown) => void
  readonly reject: (error: unknown) => void
}

/**
 * Runs scripts and waits until replicas have received their writes (`WAIT`). `WAIT` blocks its connection, so it has its own,
 * and requests during one `WAIT` share the next.
 *
 * Acknowledged means received, not stored, and the acknowledged replica may not be the promoted one: this reduces what a
 * failover can lose, but does not rule it out.
 * @see https://redis.io/docs/latest/commands/wait/
 */
export class AcknowledgedScripts implements ScriptRunner {
  readonly #connection: RedisConnection
  readonly #count: number
  readonly #timeoutMs: number
  readonly #clustered: boolean
  #next: Call[] = []
  #sending = false

  /** @throws TypeError / RangeError with the name of the option */
  constructor(options: ReplicaOptions, connection: Omit<ConnectionSettings, 'name'>, clustered: boolean) {
    const path = 'redisLocks.replicas'
    refuseUnknown(path, options, NAMES)
    this.#count = requireInteger(`${path}.count`, options.count, 1)
    this.#timeoutMs = requireInteger(`${path}.timeoutMs`, options.timeoutMs ?? 100, 1, 60_000)
    this.#clustered = clustered
    const answerMs = connection.answerMs + this.#timeoutMs
    this.#connection = new RedisConnection({ ...connection, answerMs, name: 'concordat-locks-replicas' })
  }

  close(): void {
    this.#connection.close()
  }

  /**
   * @throws `locks.store_unavailable` also when the script ran but too few replicas confirmed it in time
   */
  run(script: Script, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const call: Call = { script, keys, args, resolve, reject }
      // In a cluster, only commands for one slot can be sent together.
      if (this.#clustered) void this.#send([call])
      else {
        this.#next.push(call)
        void this.#sendAll()
      }
    })
  }

  async #sendAll(): Promise<void> {
    if (this.#sending) return
    this.#sending = true
    while (this.#next.length > 0) {
      const calls = this.#next
      this.#next = []
      await this.#send(calls)
    }
    this.#sending = false
  }

  async #send(calls: readonly Call[]): Promise<void> {
    const [count, timeoutMs] = [this.#count, this.#timeoutMs]
    try {
      const { replies, last } = await this.#connection.runThen(calls, ['wait', count, timeoutMs])
      for (const [n, reply] of replies.entries()) {
        if (reply.status === 'rejected') calls[n]?.reject(reply.reason)
        else if (Number(last) < count) calls[n]?.reject(tooFew(Number(last), count, timeoutMs))
        else calls[n]?.resolve(reply.value)
      }
    } catch (error) {
      for (const { reject } of calls) reject(error)
    }
  }
}

function tooFew(acknowledged: number, count: number, timeoutMs: number): LockError {
  const detail = `${acknowledged} of ${counted(count, 'replica')} acknowledged it within ${timeoutMs} ms, so it does not count`
  return new LockError('locks.store_unavailable', { store: 'redis', outcome: 'unknown', detail })
}
