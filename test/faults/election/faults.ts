import { nowMs } from '../harness/events.ts'
import type { Direction } from '../harness/link.ts'
import { bitten, cutOff, killed, overtaken, restarted, type StoreFault } from '../store/fault.ts'
import { COMES_WITHIN_MS, TTL_MS } from '../store/sizes.ts'
import { BEAT_MS, DEAD_AFTER_MS, type ElectionSettings } from './settings.ts'

export interface ElectionFault extends StoreFault, Partial<ElectionSettings> {
  /**
   * The store is down, or its time jumps, for longer than a member may be silent: no member counts as dead because of
   * that.
   */
  readonly outage?: true
  /**
   * The store loses data that it confirmed: members and watchers get a `resync` or `rollback`; nothing prevents the
   * loss.
   */
  readonly losesData?: true
}

/** A wake-up that arrived is faster than this. */
export const LONG_HEARTBEAT_MS = 4_000
export const SHORT_HEARTBEAT_MS = 300

const calm: ElectionFault = {
  name: 'none',
  what: 'no fault; the leader resigns now and then',
  async act(stage) {
    for (let times = 3; times > 0; times -= 1) {
      await stage.lingerer()
      await stage.untilWaiting(2)
      await stage.handOver()
    }
    return { happened: 'nothing was broken', healedAt: stage.note('healed', 'nothing was broken') }
  },
}

const killLeader: ElectionFault = {
  name: 'kill-leader',
  what: 'kill -9 of the leader',
  async act(stage) {
    const leader = await stage.lingerer()
    await stage.untilWaiting(2, stage.others(leader))
    const healedAt = await killed(stage, leader)
    return { happened: `${leader.name} was killed while it led`, healedAt }
  },
}

const killCandidate: ElectionFault = {
  name: 'kill-candidate',
  what: 'kill -9 of a candidate in line; the leader resigns right after',
  async act(stage) {
    const leader = await stage.lingerer()
    const victim = stage.random.pick(await stage.untilWaiting(3, stage.others(leader)))
    await killed(stage, victim)
    await stage.handOver()
    return { happened: `${victim.name} was killed in line`, healedAt: stage.note('healed', 'another leads') }
  },
}

const terminated: ElectionFault = {
  name: 'sigterm-leader',
  what: 'SIGTERM of the leader: it hands over and ends',
  async act(stage) {
    const leader = await stage.lingerer()
    const others = stage.others(leader)
    await stage.untilWaiting(2, others)
    stage.note('terminated', leader.name)
    const healedAt = stage.note('healed', `${leader.name} is told to end`)
    const over = stage.successor(others)
    leader.terminate()
    await over
    const gone = await leader.gone(COMES_WITHIN_MS)
    return { happened: gone ? `${leader.name} handed over and ended` : undefined, healedAt }
  },
}

const stopLeader: ElectionFault = {
  name: 'stop-leader',
  what: 'SIGSTOP of the leader past its ttl; resumed, it writes at once without asking',
  asks: 'never',
  needsFence: true,
  heartbeatMs: SHORT_HEARTBEAT_MS,
  act: (stage) =>
    overtaken(stage, async (victim, successor) => {
      stage.note('fault', `${victim.name} is stopped`)
      victim.stop()
      await successor()
      await stage.pause(stage.ttls(0, 0.5))
      victim.resume()
      return stage.note('healed', `${victim.name} is resumed`)
    }),
}

const stallLeader: ElectionFault = {
  name: 'stall-leader',
  what: 'the event loop of the leader is blocked past its ttl',
  asks: 'sometimes',
  heartbeatMs: SHORT_HEARTBEAT_MS,
  act: (stage) =>
    overtaken(
      stage,
      async (victim, successor) => {
        stage.note('fault', `${victim.name} blocks`)
        const ms = stage.ttls(1.4, 1.8)
        victim.order({ do: 'block', ms })
        const end = nowMs() + ms
        await successor()
        await stage.pause(Math.max(0, end - nowMs()))
        return stage.note('healed', `${victim.name} runs again`)
      },
      'it is refused or notices',
    ),
}

const redisKilledKeeps: ElectionFault = {
  name: 'redis-killed-keeps',
  what: 'SIGKILL of Redis and restart, appendfsync always; away for longer than members may be silent',
  settings: { appendonly: 'yes', appendfsync: 'always' },
  heartbeatMs: SHORT_HEARTBEAT_MS,
  outage: true,
  async act(stage) {
    const before = stage.bitten
    stage.note('fault', 'the server is killed')
    await stage.server.kill()
    await stage.pause(DEAD_AFTER_MS + stage.random.between(2, 6) * BEAT_MS)
    await stage.server.start()
    return { happened: bitten(stage, before), healedAt: stage.note('healed', 'Redis answers again') }
  },
}

const redisFrozen: ElectionFault = {
  name: 'redis-frozen',
  what: 'SIGSTOP of Redis, for longer than members may be silent',
  heartbeatMs: SHORT_HEARTBEAT_MS,
  outage: true,
  async act(stage) {
    const before = stage.bitten
    stage.note('fault', 'Redis is frozen')
    stage.server.pause()
    try {
      await stage.pause(DEAD_AFTER_MS + stage.random.between(2, 6) * BEAT_MS)
    } finally {
      stage.server.resume()
    }
    return { happened: bitten(stage, before), healedAt: stage.note('healed', 'Redis goes on') }
  },
}

const redisKilledForgets: ElectionFault = {
  name: 'redis-killed-forgets',
  what: 'SIGKILL of Redis and restart without persistence, the leader cut off meanwhile',
  asks: 'never',
  breaksBelief: true,
  losesData: true,
  outage: true,
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

const failover: ElectionFault = {
  name: 'failover',
  what: 'a replica that missed the last election is promoted, the leader still cut off',
  settings: { 'repl-diskless-sync-delay': '0' },
  needs: 'a replica',
  asks: 'never',
  breaksBelief: true,
  losesData: true,
  heartbeatMs: SHORT_HEARTBEAT_MS,
  async act(stage) {
    const { replica, replication } = stage
    if (replica === undefined) throw new Error('no replica')
    replication?.hold('both')
    await stage.handOver()
    // The lease that the replica knows of is over then.
    await stage.pause(1.2 * TTL_MS)
    return overtaken(stage, async (victim, successor, refused) => {
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

const clockForward: ElectionFault = {
  name: 'clock-forward',
  what: "the server's clock jumps ahead by more than a ttl",
  needs: 'a clock of its own',
  asks: 'never',
  breaksBelief: true,
  outage: true,
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

const partitions = (['both', 'requests', 'replies'] as const).map((direction: Direction): ElectionFault => {
  const what = { both: 'nothing passes', requests: 'requests are lost', replies: 'replies are lost' }[direction]
  return {
    name: `partition-${direction}`,
    what: `between the leader and the server ${what}, past the ttl; what was held back arrives later`,
    heartbeatMs: SHORT_HEARTBEAT_MS,
    act: (stage) => cutOff(stage, (link) => link.hold(direction)),
  }
})

const connectionsCut: ElectionFault = {
  name: 'cut-leader',
  what: 'connections between the leader and the server break and are refused, past the ttl',
  heartbeatMs: SHORT_HEARTBEAT_MS,
  act: (stage) => cutOff(stage, (link) => link.cut()),
}

/** Faults for every store: of the processes, and of the network between them and the server. */
export const STORELESS_FAULTS = {
  processes: [calm, killLeader, killCandidate, terminated, stopLeader, stallLeader],
  network: [...partitions, connectionsCut],
  clockForward,
} as const

/** Faults in the order of the tables. */
export const ELECTION_FAULTS: readonly ElectionFault[] = [
  calm,
  killLeader,
  killCandidate,
  terminated,
  stopLeader,
  stallLeader,
  redisKilledKeeps,
  redisFrozen,
  ...partitions,
  connectionsCut,
  redisKilledForgets,
  failover,
  clockForward,
]
