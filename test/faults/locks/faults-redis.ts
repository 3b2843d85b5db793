/** Faults of the server. */
import { bitten, restarted } from '../store/fault.ts'
import { type LockFault, SHORT_HEARTBEAT_MS } from './fault.ts'

export const redisKilledKeeps: LockFault = {
  name: 'redis-killed-keeps',
  what: 'SIGKILL of Redis and restart, appendfsync always',
  settings: { appendonly: 'yes', appendfsync: 'always' },
  heartbeatMs: SHORT_HEARTBEAT_MS,
  async act(stage) {
    const holder = await stage.lingerer()
    const before = stage.bitten
    await restarted(stage)
    const healedAt = stage.note('healed', 'Redis answers again')
    await stage.pause(stage.random.between(0, 200))
    holder.order({ do: 'leave' })
    return { happened: bitten(stage, before), healedAt }
  },
}

export const redisKilledGrace: LockFault = {
  name: 'redis-killed-grace',
  what: 'the same, with restartGraceMs: nothing is granted until the forgotten leases are over',
  asks: 'sometimes',
  heartbeatMs: SHORT_HEARTBEAT_MS,
  restartGraceMs: 2_000,
  async act(stage) {
    const holder = await stage.lingerer()
    const link = stage.link(holder)
    const before = stage.bitten
    link.cut()
    await restarted(stage)
    // Leaves time in which a Redis without a restart grace would grant the lock at once.
    await stage.pause(2_000)
    link.heal()
    holder.order({ do: 'leave' })
    return { happened: bitten(stage, before), healedAt: stage.note('healed', 'the grace is over') }
  },
}

export const redisFrozen: LockFault = {
  name: 'redis-frozen',
  what: 'SIGSTOP of Redis for longer than an answer may take',
  heartbeatMs: SHORT_HEARTBEAT_MS,
  async act(stage) {
    const holder = await stage.lingerer()
    const before = stage.bitten
    stage.note('fault', 'Redis is frozen')
    stage.server.pause()
    try {
      await stage.pause(stage.ttls(1.2, 2))
    } finally {
      stage.server.resume()
    }
    const healedAt = stage.note('healed', 'Redis goes on')
    holder.order({ do: 'leave' })
    return { happened: bitten(stage, before), healedAt }
  },
}

export const redisPaused: LockFault = {
  name: 'redis-paused',
  what: 'CLIENT PAUSE: Redis is mute, for writes or for all',
  heartbeatMs: SHORT_HEARTBEAT_MS,
  async act(stage) {
    const holder = await stage.lingerer()
    const before = stage.bitten
    const ms = stage.ttls(1.2, 1.8)
    stage.note('fault', 'CLIENT PAUSE')
    await stage.admin((client) => client.call('CLIENT', 'PAUSE', ms, stage.random.pick(['ALL', 'WRITE'])))
    await stage.pause(ms)
    const healedAt = stage.note('healed', 'Redis talks again')
    holder.order({ do: 'leave' })
    return { happened: bitten(stage, before), healedAt }
  },
}

export const slow: LockFault = {
  name: 'slow-server',
  what: 'every answer is late, and Redis stalls now and then',
  settings: { 'enable-debug-command': 'yes' },
  heartbeatMs: SHORT_HEARTBEAT_MS,
  async act(stage) {
    const before = stage.bitten
    const mostMs = stage.random.between(30, 120)
    stage.note('fault', `answers take up to ${2 * mostMs} ms longer`)
    for (const link of stage.links) link.slow(() => stage.random.between(1, mostMs))
    for (const seconds of [0.2, 0.4]) {
      await stage.pause(stage.ttls(0.3, 0.5))
      await stage.admin((client) => client.call('DEBUG', 'SLEEP', seconds))
    }
    for (const link of stage.links) link.heal()
    return { happened: bitten(stage, before), healedAt: stage.note('healed', 'fast again') }
  },
}

export const scriptsFlushed: LockFault = {
  name: 'script-flush',
  what: 'SCRIPT FLUSH, again and again',
  keepsOrder: true,
  async act(stage) {
    stage.note('fault', 'SCRIPT FLUSH')
    const evals = async (): Promise<number> => {
      const stats = await stage.admin((client) => client.info('commandstats'))
      return Number(/^cmdstat_eval:calls=(\d+)/m.exec(stats)?.[1] ?? 0)
    }
    const before = await evals()
    for (let times = stage.random.between(4, 8); times > 0; times -= 1) {
      await stage.admin((client) => client.script('FLUSH'))
      await stage.pause(stage.random.between(30, 100))
    }
    const again = (await evals()) - before
    const healedAt = stage.note('healed', 'no more')
    return { happened: again > 0 ? `scripts were sent again ${again} times` : undefined, healedAt }
  },
}

export const clientsKilled: LockFault = {
  name: 'client-kill',
  what: 'CLIENT KILL of the commands and of the wake-ups',
  heartbeatMs: SHORT_HEARTBEAT_MS,
  async act(stage) {
    const before = stage.bitten
    const holder = await stage.lingerer()
    stage.note('fault', 'CLIENT KILL')
    for (const type of stage.random.shuffled(['pubsub', 'normal', 'pubsub'])) {
      await stage.admin((client) => client.call('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes'))
      await stage.pause(stage.random.between(50, 150))
    }
    const healedAt = stage.note('healed', 'no more')
    holder.order({ do: 'leave' })
    return { happened: bitten(stage, before), healedAt }
  },
}
