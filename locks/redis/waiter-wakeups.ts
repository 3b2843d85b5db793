import type { RedisConnection } from '../../core/redis/connection.ts'

/**
 * Wake-ups for all waiters of this process over one subscription to one channel of its own. Pub/sub may lose messages: after a reconnect
 * all waiters are woken once, and each waiter's heartbeat covers the rest. While there are waiters the connection is verified once a
 * second: a connection that only listens would not notice that its server froze or was replaced.
 */
export class WaiterWakeups {
  readonly #connection: RedisConnection
  readonly #onUnclaimed: (value: string, lockKey: string) => void
  readonly #waiters = new Map<string, (token?: number) => void>()
  #subscribed: Promise<unknown> | undefined

  /** @param onUnclaimed called for a turn that no waiter here needs: it must go to the next in line */
  constructor(connection: RedisConnection, channel: string, onUnclaimed: (value: string, lockKey: string) => void) {
    this.#connection = connection
    this.#onUnclaimed = onUnclaimed
    connection.onMessage((_channel, message) => this.#onMessage(message))
    connection.onReady((client, first) => {
      this.#subscribed = client.subscribe(channel).then(() => {
        if (!first) for (const onTurn of this.#waiters.values()) onTurn()
      })
      // Waiters for the subscription see the failure; a broken connection comes back and subscribes again.
      this.#subscribed.catch(() => {})
    })
  }

  /** @throws `locks.store_unavailable`, `locks.store_refused` when the subscription is not confirmed */
  async listen(value: string, onTurn: (token?: number) => void): Promise<() => void> {
    await this.#connection.ready()
    try {
      await this.#subscribed
    } catch (error) {
      throw this.#connection.translate(error)
    }
    this.#waiters.set(value, onTurn)
    this.#connection.verifyWhile(() => this.#waiters.size > 0)
    return () => this.#waiters.delete(value)
  }

  #onMessage(message: string): void {
    const space = message.indexOf(' ')
    const [value = '', token] = message.slice(0, space).split('=')
    const onTurn = this.#waiters.get(value)
    if (onTurn !== undefined) onTurn(token === undefined ? undefined : Number(token))
    // Handed to one that has gone: it gives the lock back itself. Or it asked before it heard, and holds it.
    else if (token === undefined) this.#onUnclaimed(value, message.slice(space + 1))
  }
}
