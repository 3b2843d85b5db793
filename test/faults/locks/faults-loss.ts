/**
 * Faults that no lease survives: the store grants the lock again while a holder still relies on it. Only the fence protects
 * then.
 */
import { overtaken, restarted } from '../store/fault.ts'
import { type LockFault, SHORT_HEARTBEAT_MS } from './fault.ts'

export const redisKilledForgets: LockFault = {
  name: 'redis-killed-forgets',
  what: 'SIGKILL of Redis and restart without persistence, the holder cut off meanwhile',
  asks: 'never',
  breaksBelief: true,
  heartbeatMs: SHORT_HEARTBEAT_MS,
  act: (stage) =>
    overtaken(stage, async (victim, successor, refused) => {
      const link = stage.link(victim)
      link.cut()
      await restarted(stage)
      await successor()
      await refused
      link.heal()
      return stage.note('healed', `${victim.name} reaches the server again`)
    }),
}

export const failover: LockFault = {
  name: 'failover',
  what: 'a replica that missed the last writes is promoted, the holder still cut off',
  settings: { 'repl-diskless-sync-delay': '0' },
  needs: 'a replica',
  asks: 'never',
  breaksBelief: true,
  heartbeatMs: SHORT_HEARTBEAT_MS,
  async act(stage) {
    // No worker holds the lock at this moment: the replica learns of no holder, and not of the next one.
    await stage.quiet()
    stage.replication?.hold('both')
    stage.all({ do: 'go' })
    return overtaken(stage, async (victim, successor, refused) => {
      const { replica } = stage
      if (replica === undefined) throw new Error('no replica')
      stage.note('fault', 'the master dies, the replica is promoted')
      stage.link(victim).cut()
      await stage.server.kill()
      await stage.admin((client) => client.call('REPLICAOF', 'NO', 'ONE'), replica)
      for (const link of stage.links) link.retarget(Number(new URL(replica.url).port))
      await successor()
      await refused
      stage.link(victim).heal()
      return stage.note('healed', `${victim.name} reaches the new master`)
    })
  },
}

export const flushed: LockFault = {
  name: 'flush-all',
  what: 'FLUSHALL: locks, tokens and lines are gone',
  asks: 'never',
  breaksBelief: true,
  heartbeatMs: SHORT_HEARTBEAT_MS,
  act: (stage) =>
    overtaken(stage, async (victim, successor, refused) => {
      // Delays the news for the victim.
      stage.link(victim).hold('both')
      stage.note('fault', 'FLUSHALL')
      await stage.admin((client) => client.flushall())
      await successor()
      await refused
      stage.link(victim).heal()
      return stage.note('healed', `${victim.name} reaches the server again`)
    }),
}

export const clockForward: LockFault = {
  name: 'clock-forward',
  what: "the server's clock jumps ahead by more than a ttl",
  needs: 'a clock of its own',
  asks: 'never',
  breaksBelief: true,
  heartbeatMs: SHORT_HEARTBEAT_MS,
  act: (stage) =>
    overtaken(stage, async (victim, successor, refused) => {
      stage.link(victim).hold('both')
      const jumpMs = stage.ttls(2, 60)
      stage.note('fault', `the clock jumps ${jumpMs} ms ahead`)
      stage.clock?.shift(jumpMs)
      await successor()
      await refused
      stage.link(victim).heal()
      return stage.note('healed', `${victim.name} reaches the server again`)
    }),
}

export const clockBack: LockFault = {
  name: 'clock-back',
  what: "the server's clock is set back, and later right again: what was granted in between is over at once",
  needs: 'a clock of its own',
  asks: 'never',
  breaksBelief: true,
  heartbeatMs: SHORT_HEARTBEAT_MS,
  act: (stage) => {
    const jumpMs = stage.ttls(5, 60)
    stage.note('fault', `the clock is set back by ${jumpMs} ms`)
    stage.clock?.shift(-jumpMs)
    return overtaken(stage, async (victim, successor, refused) => {
      stage.link(victim).hold('both')
      stage.note('fault', 'the clock is set right')
      stage.clock?.shift(0)
      await successor()
      await refused
      stage.link(victim).heal()
      return stage.note('healed', `${victim.name} reaches the server again`)
    })
  },
}
