import { setTimeout as sleep } from 'node:timers/promises'
import { type Ended, nameOfNode } from './ensemble.ts'
import type { ClusterFault, Stage } from './fault.ts'
import type { Scene } from './scene.ts'
import { TAKEN_MS } from './settings.ts'

/** Faults that take permissions or space from clients for a while and give them back. No process is restarted. */
export const TAKEN_FAULTS: readonly ClusterFault[] = [
  {
    name: 'rights-taken',
    what: 'clients may not do at the brokers what they do, and then again',
    play: rightsTaken,
  },
  {
    name: 'login-taken',
    what: 'PostgreSQL does not let clients in, and then again',
    play: loginTaken,
  },
  {
    name: 'full',
    what: 'the node that leads most has no room for what is written, and then again',
    play: full,
  },
  {
    name: 'stale-failover',
    what: 'the master is killed while its replicas do not hear from it: one that missed writes takes over',
    on: 'redis',
    play: staleFailover,
  },
]

async function rightsTaken({ ensemble }: Scene, stage: Stage): Promise<string | undefined> {
  stage.note('fault', 'rights are taken away')
  const begun = performance.now()
  const taken = await ensemble.takeRights(stage.random)
  stage.note('act', `taken away: ${taken.what}`)
  const seen = await during(taken, stage)
  await ensemble.whole()
  stage.note('healed', `given back: ${taken.what}`)
  const ms = (performance.now() - begun).toFixed(0)
  return seen === undefined ? undefined : `${taken.what}: taken away for ${ms} ms, ${seen}`
}

async function loginTaken({ pair }: Scene, stage: Stage): Promise<string | undefined> {
  stage.note('fault', 'the role of the clients may not log in, and its connections are ended')
  const ended = await pair.denyLogin()
  const seen = (): Promise<string | undefined> =>
    Promise.resolve(ended > 0 ? `${ended} connections were ended` : undefined)
  const happened = await during({ what: 'the login', seen, end: () => pair.allowLogin() }, stage)
  stage.note('healed', 'the role may log in')
  return happened
}

async function full({ ensemble }: Scene, stage: Stage): Promise<string | undefined> {
  const node = await ensemble.leader()
  const name = nameOfNode(ensemble, node)
  stage.note('fault', `${name} has no room`)
  const begun = performance.now()
  const filled = await ensemble.fill(node)
  const seen = await during(filled, stage)
  await ensemble.whole()
  stage.note('healed', `${name} has room, all copies are in sync`)
  const ms = (performance.now() - begun).toFixed(0)
  return seen === undefined ? undefined : `${name}: ${filled.what} for ${ms} ms, ${seen}`
}

/** @returns how one sees that it bit */
async function during(taken: Ended, stage: Stage): Promise<string | undefined> {
  try {
    await sleep(TAKEN_MS + stage.random.between(0, 4_000))
    return await taken.seen()
  } finally {
    await taken.end()
  }
}

async function staleFailover({ ensemble }: Scene, stage: Stage): Promise<string | undefined> {
  const node = await ensemble.leader()
  const name = nameOfNode(ensemble, node)
  stage.note('fault', `the replicas do not hear from ${name}`)
  const heal = await ensemble.cutOff(node)
  try {
    await sleep(stage.random.between(1_000, 3_000))
    stage.note('fault', `kill -9 of ${name}`)
    await node.server.kill()
    await sleep(stage.random.between(2_000, 5_000))
  } finally {
    await heal()
  }
  await node.server.start()
  await ensemble.whole()
  const leader = await ensemble.leader()
  stage.note('healed', `${nameOfNode(ensemble, leader)} is the master and has all replicas`)
  return leader === node ? undefined : 'a replica that had missed writes took over'
}
