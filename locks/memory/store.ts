import type { LockHolder } from '../lock.ts'
import { randomId } from '../random.ts'
import type { AcquireReply, AcquireRequest, LockStore } from '../store.ts'
import type { MemoryLockServer } from './server.ts'

/** The memory server seen from one contender. A call has happened when it returns, so outcomes are never unknown. */
export class MemoryLockStore implements LockStore {
  readonly name = 'memory'
  readonly #server: MemoryLockServer

  constructor(server: MemoryLockServer) {
    this.#server = server
  }

  newValue(owner: string): string {
    return `${randomId()}.${owner}`
  }

  async acquire(request: AcquireRequest): Promise<AcquireReply> {
    return this.#server.acquire(request)
  }

  async extend(key: string, value: string, ttlMs: number): Promise<'extended' | 'lost'> {
    return this.#server.extend(key, value, ttlMs)
  }

  async release(key: string, value: string): Promise<'released' | 'lost'> {
    return this.#server.release(key, value)
  }

  async abandon(key: string, value: string): Promise<void> {
    this.#server.abandon(key, value)
  }

  async listen(value: string, onTurn: () => void): Promise<() => void> {
    return this.#server.listen(value, onTurn)
  }

  async inspect(key: string): Promise<LockHolder | undefined> {
    return this.#server.inspect(key)
  }

  onRestored(): void {}

  health(): { status: 'up' } {
    return { status: 'up' }
  }

  async close(): Promise<void> {}
}
