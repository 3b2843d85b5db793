/** Faults of locks on PostgreSQL: those of every store, and those of the server. */
import { bitten, overtaken } from '../store/fault.ts'
import { crashed, longTransaction } from '../store/postgres.ts'
import { type LockFault, SHORT_HEARTBEAT_MS } from './fault.ts'
import { clockBack, clockForward } from './faults-loss.ts'
import { modes } from './faults-modes.ts'
import { connectionsCut, lateReply, partitions, torn } from './faults-network.ts'
import { calm, killHolder, killWaiter, stallHolder, stopHolder } from './faults-process.ts'

const crashes = (['killed', 'stopped at once'] as const).map((how): LockFault => {
  return {
    name: how === 'killed' ? 'postgres-killed' : 'postgres-immediate',
    what:
      how === 'killed' ? 'SIGKILL of PostgreSQL and restart' : 'PostgreSQL is stopped at once (SIGQUIT) and restarted',
    heartbeatMs: SHORT_HEARTBEAT_MS,
    async act(stage) {
      const holder = await stage.lingerer()
      const before = stage.bitten
      await crashed(stage, how, stage.random.between(50, 500))
      const healedAt = stage.note('healed', 'PostgreSQL answers again')
      await stage.pause(stage.random.between(0, 200))
      holder.order({ do: 'leave' })
      return { happened: bitten(stage, before), healedAt }
    },
  }
})

const frozen: LockFault = {
  name: 'postgres-frozen',
  what: 'SIGSTOP of PostgreSQL for longer than an answer may take',
  heartbeatMs: SHORT_HEARTBEAT_MS,
  async act(stage) {
    const holder = await stage.lingerer()
    const before = stage.bitten
    stage.note('fault', 'PostgreSQL is frozen')
    stage.server.pause()
    try {
      await stage.pause(stage.ttls(1.2, 2))
    } finally {
      stage.server.resume()
    }
    const healedAt = stage.note('healed', 'PostgreSQL goes on')
    holder.order({ do: 'leave' })
    return { happened: bitten(stage, before), healedAt }
  },
}

const terminated: LockFault = {
  name: 'backends-terminated',
  what: 'pg_terminate_backend of every connection, those that listen among them',
  heartbeatMs: SHORT_HEARTBEAT_MS,
  async act(stage) {
    const before = stage.bitten
    const holder = await stage.lingerer()
    stage.note('fault', 'pg_terminate_backend')
    for (let times = 3; times > 0; times -= 1) {
      await stage.sql(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`,
      )
      await stage.pause(stage.random.between(50, 150))
    }
    const healedAt = stage.note('healed', 'no more')
    holder.order({ do: 'leave' })
    return { happened: bitten(stage, before), healedAt }
  },
}

const slow: LockFault = {
  name: 'slow-server',
  what: 'every answer is late',
  heartbeatMs: SHORT_HEARTBEAT_MS,
  async act(stage) {
    const before = stage.bitten
    const mostMs = stage.random.between(30, 100)
    stage.note('fault', `answers take up to ${2 * mostMs} ms longer`)
    for (const link of stage.links) link.slow(() => stage.random.between(1, mostMs))
    await stage.pause(stage.ttls(0.8, 1.2))
    for (const link of stage.links) link.heal()
    return { happened: bitten(stage, before), healedAt: stage.note('healed', 'fast again') }
  },
}

const stopWaiter: LockFault = {
  name: 'stop-waiter',
  what: 'SIGSTOP of the first in line; the holder leaves',
  heartbeatMs: SHORT_HEARTBEAT_MS,
  async act(stage) {
    const holder = await stage.lingerer()
    const victim = stage.random.pick(await stage.untilWaiting(3, stage.others(holder)))
    stage.note('fault', `${victim.name} is stopped in line`)
    victim.stop()
    const others = stage.others(holder).filter((each) => each !== victim)
    const next = stage.successor(others)
    holder.order({ do: 'leave' })
    const served = await next
    stage.all({ do: 'leave' })
    victim.resume()
    const healedAt = stage.note('healed', `${victim.name} is resumed`)
    return { happened: `${served.name} was served while ${victim.name} stood still in line`, healedAt }
  },
}

const stopInTransaction: LockFault = {
  name: 'stop-in-transaction',
  what: 'SIGSTOP of the holder between the first look of a guarded transaction and its commit, past its ttl',
  asks: 'never',
  thinksMs: 80,
  needsFence: true,
  heartbeatMs: SHORT_HEARTBEAT_MS,
  act: (stage) =>
    overtaken(stage, async (victim, successor) => {
      await untilInTransaction(victim)
      await stage.pause(stage.random.between(15, 40))
      stage.note('fault', `${victim.name} is stopped`)
      victim.stop()
      await successor()
      await stage.pause(stage.ttls(0, 0.3))
      victim.resume()
      return stage.note('healed', `${victim.name} is resumed`)
    }),
}

/** A write to the guarded sink has begun, and takes a few milliseconds. */
async function untilInTransaction(victim: Parameters<Parameters<typeof overtaken>[1]>[0]): Promise<void> {
  await victim.next('writes in a transaction', ({ op, type, ...event }) => {
    return op === 'write' && type === 'invoke' && event['sink'] === 'guarded'
  })
}

const foreignTransaction: LockFault = {
  name: 'long-transaction',
  what: 'a foreign transaction stays open all the time, and vacuum can take nothing',
  keepsOrder: true,
  async act(stage) {
    const end = await longTransaction(stage)
    stage.note('fault', 'a transaction is open')
    await stage.pause(stage.ttls(1, 1.5))
    await end()
    return { happened: 'it was open all the time', healedAt: stage.note('healed', 'it is over') }
  },
}

/** Faults in the order of the tables. */
export const POSTGRES_LOCK_FAULTS: readonly LockFault[] = [
  calm,
  killHolder,
  killWaiter,
  stopWaiter,
  stopHolder,
  stopInTransaction,
  stallHolder,
  ...crashes,
  frozen,
  terminated,
  ...partitions,
  connectionsCut,
  torn,
  slow,
  lateReply,
  foreignTransaction,
  clockForward,
  clockBack,
  ...modes,
]
