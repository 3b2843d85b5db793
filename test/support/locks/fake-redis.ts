// oxlint-disable no-restricted-imports -- the part of ioredis that the inside of the package uses
import { EventEmitter } from 'node:events'
import type { RedisClient, RedisConnectionClient } from '../../../core/redis/client.ts'

/** Redis of which only the INFO is asked for: its text can change, and its connection can break. */
export class FakeRedis {
  readonly #copies: FakeConnection[] = []
  /** Text of INFO, or the error with which it is refused. */
  info: string | Error

  constructor(info: string | Error) {
    this.info = info
  }

  /** Client whose copies connect to this server. */
  get client(): RedisClient {
    const duplicate = (): RedisConnectionClient => {
      const copy = new FakeConnection(this)
      this.#copies.push(copy)
      return copy as unknown as RedisConnectionClient
    }
    return { duplicate, evalsha: () => Promise.resolve(null) } as unknown as RedisClient
  }

  /** Breaks all connections; ioredis restores them at once. */
  reconnect(): void {
    for (const copy of this.#copies) copy.emit('ready')
  }
}

class FakeConnection extends EventEmitter {
  status = 'wait'
  readonly stream = { cork() {}, uncork() {}, remoteAddress: '10.0.0.7', remotePort: 6379 }
  readonly #server: FakeRedis

  constructor(server: FakeRedis) {
    super()
    this.#server = server
  }

  async connect(): Promise<void> {
    this.status = 'ready'
    this.emit('ready')
  }

  disconnect(): void {
    this.status = 'end'
  }

  async evalsha(): Promise<null> {
    return null
  }

  async info(): Promise<string> {
    const { info } = this.#server
    if (typeof info === 'string') return info
    throw info
  }
}
