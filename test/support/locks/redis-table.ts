// oxlint-disable no-restricted-imports -- the one file of the lock tests that reaches inside
import { setTimeout as pause } from 'node:timers/promises'
import { silentLogger, systemClock } from 'concordat/core'
import { LockError } from 'concordat/locks'
import type { Redis } from 'ioredis'
import { clientSource } from '../../../core/redis/client.ts'
import { RedisConnection } from '../../../core/redis/connection.ts'
import { RestartGuard } from '../../../locks/redis/restart.ts'
import { RedisLockStore } from '../../../locks/redis/store.ts'
import { until } from '../until.ts'
import type { Seat, Table } from './scenario.ts'

/** Creates a store without the leases above it: the test decides what is sent when. */
export function redisStore(client: Redis, prefix: string): RedisLockStore {
  const shared = {
    client: clientSource('test', { client }),
    answerMs: 5_000,
    clock: systemClock,
    logger: silentLogger,
    errors: {
      unavailable: (outcome: 'not_done' | 'unknown', detail: string, cause: unknown) =>
        new LockError('locks.store_unavailable', { store: 'redis', outcome, detail }, cause),
      refused: (cause: Error) => new LockError('locks.store_refused', { store: 'redis' }, cause),
    },
  }
  const commands = new RedisConnection({ ...shared, name: 'test' })
  const subscriber = new RedisConnection({ ...shared, name: 'test-turns' })
  const guard = new RestartGuard(commands, 0, systemClock, silentLogger)
  return new RedisLockStore({ commands, subscriber, guard, prefix, channel: `${prefix}turn:` })
}

/** Redis as the stage of scenarios: each actor behaves like a process of its own. */
export function redisTable(client: Redis, prefix: string): Table & { close(): Promise<void> } {
  const stores = new Map<number, RedisLockStore>()
  const operator = redisStore(client, prefix)
  const open = (actor: number): RedisLockStore => {
    const store = stores.get(actor) ?? redisStore(client, prefix)
    stores.set(actor, store)
    return store
  }
  const die = async (actor: number): Promise<void> => {
    const store = open(actor)
    const [clientId] = store.newValue({ owner: '', mode: 'shared', limit: 1, lockDelayMs: 0 }).split('.')
    stores.delete(actor)
    await store.close()
    const channel = `${prefix}turn:${clientId}`
    await until('Redis has noticed', async () => (await client.pubsub('NUMSUB', channel))[1] === 0)
  }
  return {
    seat: (actor): Seat => ({ store: open(actor), die: () => die(actor) }),
    inspect: (key) => operator.inspect(key),
    force: (key) => operator.operator.forceRelease(key, { by: 'ada', reason: 'why' }, 0),
    letPlacesLapse: () => pause(3),
    settle: (rung) => until('it is rung', rung, 3_000).catch(() => {}),
    close: async () => {
      await operator.close()
      for (const store of stores.values()) await store.close()
    },
  }
}
