import type { AcquireReply, AcquireRequest, Claim, LockStore, NotHeld } from 'concordat/extension'
import { LockError } from 'concordat/locks'
import type { MemoryLockServer } from 'concordat/memory'
import type { ClaimTerms, LockInfo } from '../inside/locks.ts'
import type { FakeClock } from './fake-clock.ts'

/**
 * Faults of one request:
 * - `refused`: not sent, and the caller knows.
 * - `request lost`: never executed; the caller gets no answer and gives up after `ANSWER_MS`.
 * - `reply lost`: executed; the caller gets no answer.
 * - `late`, `very late`: the caller gave up; executed after that, within or beyond a ttl.
 * - `slow`: executed and answered, but later than a ttl.
 * - `slow reply`: executed at once, answered late.
 * - `stall`: answered, and the process is stopped for longer than a ttl before it reads the answer.
 */
export const faults = [
  'refused',
  'request lost',
  'reply lost',
  'late',
  'very late',
  'slow',
  'slow reply',
  'stall',
] as const
export type Fault = (typeof faults)[number]

const LATENCY_MS = 2
const ANSWER_MS = 200
const DELAY_MS: Readonly<Record<'late' | 'very late' | 'slow', number>> = { late: 450, 'very late': 1_700, slow: 1_300 }
const SLOW_REPLY_MS = 800
const STALL_MS = 1_600

/** Lock store behind a network that fails at the given steps, counted over all contenders. */
export class FaultyNetwork {
  readonly server: MemoryLockServer
  readonly clock: FakeClock
  readonly #plan: ReadonlyMap<number, Fault>
  steps = 0

  constructor(server: MemoryLockServer, clock: FakeClock, plan: ReadonlyMap<number, Fault>) {
    this.server = server
    this.clock = clock
    this.#plan = plan
  }

  async request<T>(execute: () => T): Promise<T> {
    const fault = this.#plan.get(this.steps++)
    if (fault === 'refused')
      throw new LockError('locks.store_unavailable', { store: 'faulty', outcome: 'not_done', detail: 'refused' })
    if (fault === 'request lost') return this.#noAnswer()
    if (fault === 'late' || fault === 'very late') {
      this.clock.setTimer(DELAY_MS[fault], () => void execute())
      return this.#noAnswer()
    }
    await this.clock.sleep(fault === 'slow' ? DELAY_MS.slow : LATENCY_MS)
    const result = execute()
    if (fault === 'reply lost') return this.#noAnswer()
    await this.clock.sleep(fault === 'slow reply' ? SLOW_REPLY_MS : LATENCY_MS)
    if (fault === 'stall') this.clock.stall(STALL_MS)
    return result
  }

  async #noAnswer(): Promise<never> {
    await this.clock.sleep(ANSWER_MS)
    throw new LockError('locks.store_unavailable', { store: 'faulty', outcome: 'unknown', detail: 'no answer' })
  }
}

export class FaultyStore implements LockStore {
  readonly name = 'faulty'
  readonly features = { fifo: true, shared: true, lockDelay: true, waiters: true } as const
  readonly operator = { missing: 'the network of this store carries no operators' }
  readonly #network: FaultyNetwork
  readonly #id: string
  #values = 0

  constructor(network: FaultyNetwork, id: string) {
    this.#network = network
    this.#id = id
  }

  newValue({ owner }: ClaimTerms): string {
    return `${this.#id}${++this.#values}.${owner}`
  }

  acquire(claim: Claim, request: AcquireRequest): Promise<AcquireReply> {
    const givenUp: AcquireReply = { status: 'busy', retryAfterMs: 1_000, position: undefined, owner: undefined }
    return this.#network.request(() => {
      const reply = this.#network.server.acquire(claim, request)
      return reply === 'given up' ? givenUp : reply
    })
  }

  extend(claim: Claim, ttlMs: number): Promise<'extended' | NotHeld> {
    return this.#network.request(() => this.#network.server.extend(claim, ttlMs))
  }

  release(claim: Claim, forgetAfterMs: number): Promise<'released' | NotHeld> {
    return this.#network.request(() => this.#network.server.release(claim, forgetAfterMs))
  }

  abandon(claim: Claim, forgetAfterMs: number): Promise<void> {
    return this.#network.request(() => this.#network.server.abandon(claim, forgetAfterMs))
  }

  async listen(value: string, onTurn: (token?: number) => void): Promise<() => void> {
    return this.#network.server.listen(value, onTurn)
  }

  async inspect(key: string): Promise<LockInfo | undefined> {
    return this.#network.server.inspect(key)
  }

  onDoubt(): void {}

  health(): { status: 'up' } {
    return { status: 'up' }
  }

  async close(): Promise<void> {}
}
