import { randomId } from '../../core/random-id.ts'
import { LockError } from '../errors.ts'
import type { ForcedRelease, LockInfo } from '../lock.ts'
import type {
  AcquireReply,
  AcquireRequest,
  Claim,
  HolderChanged,
  ListRequest,
  LockOperator,
  LockStore,
  NotHeld,
} from '../store.ts'
import type { MemoryLockServer } from './server.ts'

/** The memory server seen from one contender. A call is complete when it returns, so outcomes are never unknown. */
export class MemoryLockStore implements LockStore {
  readonly name = 'memory'
  readonly features = { fifo: true, shared: true, lockDelay: true } as const
  readonly operator: LockOperator
  readonly #server: MemoryLockServer
  readonly #stops: Array<() => void> = []

  constructor(server: MemoryLockServer) {
    this.#server = server
    this.operator = new MemoryOperator(server)
  }

  newValue(): string {
    return randomId()
  }

  async acquire(claim: Claim, request: AcquireRequest): Promise<AcquireReply> {
    const reply = this.#server.acquire(claim, request)
    if (reply !== 'given up') return reply
    throw new LockError('locks.store_unavailable', {
      store: 'memory',
      outcome: 'not_done',
      detail: 'this acquisition was given up before',
    })
  }

  async extend(claim: Claim, ttlMs: number): Promise<'extended' | NotHeld> {
    return this.#server.extend(claim, ttlMs)
  }

  async release(claim: Claim, forgetAfterMs: number): Promise<'released' | NotHeld> {
    return this.#server.release(claim, forgetAfterMs)
  }

  async abandon(claim: Claim, forgetAfterMs: number): Promise<void> {
    this.#server.abandon(claim, forgetAfterMs)
  }

  async listen(value: string, onTurn: (token?: number) => void): Promise<() => void> {
    return this.#server.listen(value, onTurn)
  }

  async inspect(key: string): Promise<LockInfo | undefined> {
    return this.#server.inspect(key)
  }

  onDoubt(listener: (value: string | undefined) => void): void {
    this.#stops.push(this.#server.onForced(listener))
  }

  health(): { status: 'up' } {
    return { status: 'up' }
  }

  async close(): Promise<void> {
    for (const stop of this.#stops.splice(0)) stop()
  }
}

class MemoryOperator implements LockOperator {
  readonly #server: MemoryLockServer

  constructor(server: MemoryLockServer) {
    this.#server = server
  }

  async list({ limit, prefix }: ListRequest): Promise<readonly LockInfo[]> {
    return this.#server.list(limit, prefix)
  }

  async forceRelease(...call: Parameters<LockOperator['forceRelease']>): Promise<ForcedRelease | HolderChanged> {
    return this.#server.forceRelease(...call)
  }

  async audit(key: string): Promise<readonly ForcedRelease[]> {
    return this.#server.audit(key)
  }
}
