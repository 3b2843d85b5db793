/** Faults of elections, members and states on PostgreSQL: those of every store, and those of the server. */
import { bitten } from '../store/fault.ts'
import { crashed, longTransaction } from '../store/postgres.ts'
import { type ElectionFault, SHORT_HEARTBEAT_MS, STORELESS_FAULTS } from './faults.ts'
import { BEAT_MS, DEAD_AFTER_MS } from './settings.ts'

const crashes = (['killed', 'stopped at once'] as const).map((how): ElectionFault => {
  return {
    name: how === 'killed' ? 'postgres-killed' : 'postgres-immediate',
    what: `PostgreSQL is ${how} and restarted; away for longer than members may be silent`,
    heartbeatMs: SHORT_HEARTBEAT_MS,
    outage: true,
    async act(stage) {
      const before = stage.bitten
      await crashed(stage, how, DEAD_AFTER_MS + stage.random.between(2, 6) * BEAT_MS)
      return { happened: bitten(stage, before), healedAt: stage.note('healed', 'PostgreSQL answers again') }
    },
  }
})

const frozen: ElectionFault = {
  name: 'postgres-frozen',
  what: 'SIGSTOP of PostgreSQL, for longer than members may be silent',
  heartbeatMs: SHORT_HEARTBEAT_MS,
  outage: true,
  async act(stage) {
    const before = stage.bitten
    stage.note('fault', 'PostgreSQL is frozen')
    stage.server.pause()
    try {
      await stage.pause(DEAD_AFTER_MS + stage.random.between(2, 6) * BEAT_MS)
    } finally {
      stage.server.resume()
    }
    return { happened: bitten(stage, before), healedAt: stage.note('healed', 'PostgreSQL goes on') }
  },
}

const foreignTransaction: ElectionFault = {
  name: 'long-transaction',
  what: 'a foreign transaction stays open all the time; the leader resigns now and then',
  async act(stage) {
    const end = await longTransaction(stage)
    stage.note('fault', 'a transaction is open')
    for (let times = 2; times > 0; times -= 1) {
      await stage.untilWaiting(2)
      await stage.handOver()
    }
    await end()
    return { happened: 'it was open all the time', healedAt: stage.note('healed', 'it is over') }
  },
}

const { processes, network, clockForward } = STORELESS_FAULTS

/** Faults in the order of the tables. */
export const POSTGRES_ELECTION_FAULTS: readonly ElectionFault[] = [
  ...processes,
  ...crashes,
  frozen,
  ...network,
  foreignTransaction,
  clockForward,
]
