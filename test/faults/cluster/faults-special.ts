import { setTimeout as sleep } from 'node:timers/promises'
import { portOf } from '../../support/servers/cluster/index.ts'
import { KafkaEnsemble } from './ensemble-kafka.ts'
import { RedisEnsemble } from './ensemble-redis.ts'
import type { ClusterFault, Stage } from './fault.ts'
import type { Scene } from './scene.ts'
import { MORE_PARTITIONS } from './settings.ts'

/** Faults of PostgreSQL, whose lines include all others, and faults that only one broker has. */
export const SPECIAL_FAULTS: readonly ClusterFault[] = [
  {
    name: 'promotion',
    what: 'kill -9 of the PostgreSQL primary; clients meet the standby, read-only, until it is promoted',
    play: (scene, stage) => promotion(scene, stage, 0),
  },
  {
    name: 'frozen-promotion',
    what: 'the PostgreSQL primary stands still, is ended, and the standby is promoted',
    play: (scene, stage) => promotion(scene, stage, stage.random.between(3_000, 6_000)),
  },
  {
    name: 'standby-kill',
    what: 'kill -9 of the synchronous standby: no commit ends until it is back',
    play: standbyKill,
  },
  {
    name: 'standby-cut',
    what: 'the standby hears nothing from the primary: no commit ends until it does',
    play: standbyCut,
  },
  {
    name: 'add-partitions',
    what: 'partitions are added to the topic; the senders learn of it in their own time',
    on: 'kafka',
    movesKeys: true,
    play: addPartitions,
  },
  { name: 'failover', what: 'Sentinel is told to make another server the master', on: 'redis', play: failover },
]

async function promotion({ pair, front }: Scene, stage: Stage, frozenMs: number): Promise<string | undefined> {
  const old = pair.primary
  if (frozenMs > 0) {
    stage.note('fault', `the primary stands still for ${frozenMs} ms`)
    old.pause()
    await sleep(frozenMs)
  }
  stage.note('fault', 'kill -9 of the primary')
  await old.kill()
  front.retarget(portOf(pair.standby))
  const readOnlyMs = stage.random.between(1_000, 6_000)
  stage.note('act', `clients meet the standby, read-only, for ${readOnlyMs} ms`)
  await sleep(readOnlyMs)
  await pair.promote()
  stage.note('act', 'the standby is the primary')
  await sleep(stage.random.between(500, 2_000))
  await pair.rejoin()
  stage.note('healed', 'the old primary is the synchronous standby of the new one')
  return pair.primary === old ? undefined : `another server is the primary, after ${readOnlyMs} ms of a read-only one`
}

async function standbyKill({ pair }: Scene, stage: Stage): Promise<string | undefined> {
  const { standby } = pair
  const { pid } = standby
  stage.note('fault', 'kill -9 of the standby')
  await standby.kill()
  await sleep(stage.random.between(2_000, 6_000))
  await standby.start()
  stage.note('healed', 'the standby is back')
  return standby.pid === pid ? undefined : 'the standby is another process'
}

async function standbyCut({ between }: Scene, stage: Stage): Promise<string | undefined> {
  const before = between.bitten
  stage.note('fault', 'nothing reaches the standby')
  between.hold('both')
  await sleep(stage.random.between(3_000, 8_000))
  between.heal()
  stage.note('healed', 'what was held reaches the standby')
  return between.bitten > before ? `${between.bitten - before} bytes were held back` : undefined
}

async function addPartitions({ ensemble }: Scene, stage: Stage): Promise<string | undefined> {
  if (!(ensemble instanceof KafkaEnsemble)) return undefined
  stage.note('fault', 'partitions are added to the topic')
  const partitions = await ensemble.addPartitions(MORE_PARTITIONS)
  await sleep(5_000)
  await ensemble.whole()
  stage.note('healed', 'they have all copies')
  return `the topic has ${partitions} partitions`
}

async function failover({ ensemble }: Scene, stage: Stage): Promise<string | undefined> {
  if (!(ensemble instanceof RedisEnsemble)) return undefined
  const before = await ensemble.leader()
  stage.note('fault', 'another master, by order')
  await ensemble.failover()
  await ensemble.whole()
  stage.note('healed', 'the master has all replicas')
  return (await ensemble.leader()) === before ? undefined : 'another server is the master'
}
