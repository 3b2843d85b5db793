import { setTimeout as sleep } from 'node:timers/promises'
import { type Ensemble, type Node, nameOfNode } from './ensemble.ts'
import type { ClusterFault, Stage } from './fault.ts'
import type { Scene } from './scene.ts'
import { CUT_MS, FREEZE_MS } from './settings.ts'

/** Faults of the nodes of a broker, or of a store of locks. */
export const NODE_FAULTS: readonly ClusterFault[] = [
  { name: 'none', what: 'to compare with', play: () => sleep(3_000).then(() => 'nothing was broken') },
  {
    name: 'kill-leader',
    what: 'kill -9 of the node that leads most, and its restart',
    play: (scene, stage) => kill(scene, stage, leader),
  },
  {
    name: 'kill-follower',
    what: 'kill -9 of another node, and its restart',
    play: (scene, stage) => kill(scene, stage, follower),
  },
  {
    name: 'freeze-leader',
    what: 'the node that leads most stands still, and goes on',
    play: (scene, stage) => freeze(scene, stage, leader),
  },
  {
    name: 'freeze-follower',
    what: 'another node stands still, and goes on',
    play: (scene, stage) => freeze(scene, stage, follower),
  },
  { name: 'cut-clients', what: 'no client reaches the node that leads most, which the others do', play: cutClients },
  {
    name: 'cut-nodes',
    what: 'the node that leads most is without the others, which clients of it do not see',
    play: cutNodes,
  },
  { name: 'two-down', what: 'kill -9 of two nodes at once: no majority; their restart', play: twoDown },
  { name: 'rolling', what: 'kill -9 and restart of each node, one after the other', play: rolling },
  { name: 'replace', what: 'kill -9 of the node that leads most, and an empty one in its place', play: replace },
]

type Pick = (ensemble: Ensemble, stage: Stage) => Promise<Node>

const leader: Pick = (ensemble) => ensemble.leader()

const follower: Pick = async (ensemble, { random }) => {
  const leading = await ensemble.leader()
  return random.pick(ensemble.nodes.filter((node) => node !== leading))
}

async function kill({ ensemble }: Scene, stage: Stage, pick: Pick): Promise<string | undefined> {
  const node = await pick(ensemble, stage)
  const { pid } = node.server
  stage.note('fault', `kill -9 of ${nameOfNode(ensemble, node)}`)
  await node.server.kill()
  await sleep(stage.random.between(2_000, 5_000))
  await node.server.start()
  await ensemble.whole()
  stage.note('healed', `${nameOfNode(ensemble, node)} is back, all copies are in sync`)
  return node.server.pid === pid ? undefined : `${nameOfNode(ensemble, node)} is another process`
}

async function freeze({ ensemble }: Scene, stage: Stage, pick: Pick): Promise<string | undefined> {
  const node = await pick(ensemble, stage)
  const before = node.link.bitten
  stage.note('fault', `${nameOfNode(ensemble, node)} stands still`)
  const ms = FREEZE_MS + stage.random.between(0, 2_000)
  node.server.pause()
  try {
    await sleep(ms)
  } finally {
    node.server.resume()
  }
  await ensemble.whole()
  stage.note('healed', `${nameOfNode(ensemble, node)} goes on, all copies are in sync`)
  return before === node.link.bitten ? `${nameOfNode(ensemble, node)} stood still for ${ms} ms` : undefined
}

/** Half of the time connections break and new ones are refused, else they hang. */
async function cutClients({ ensemble }: Scene, stage: Stage): Promise<string | undefined> {
  const node = await ensemble.leader()
  const { link } = node
  const [bitten, lost] = [link.bitten, link.lost]
  const hangs = stage.random.chance(0.5)
  stage.note('fault', `${nameOfNode(ensemble, node)} is ${hangs ? 'silent to' : 'closed to'} clients`)
  if (hangs) link.hold('both')
  else link.cut()
  await sleep(CUT_MS + stage.random.between(0, 3_000))
  const met = [link.bitten - bitten, link.lost - lost] as const
  link.heal()
  stage.note('healed', `${nameOfNode(ensemble, node)} can be reached`)
  return met[0] + met[1] > 0
    ? `${met[0]} bytes or connections were held or refused, ${met[1]} connections broke`
    : undefined
}

async function cutNodes({ ensemble }: Scene, stage: Stage): Promise<string | undefined> {
  const node = await ensemble.leader()
  stage.note('fault', `${nameOfNode(ensemble, node)} is without the others`)
  const heal = await ensemble.cutOff(node)
  const begun = performance.now()
  let others: Node
  try {
    await sleep(CUT_MS + stage.random.between(2_000, 5_000))
  } finally {
    await heal()
  }
  await ensemble.whole()
  others = await ensemble.leader()
  stage.note('healed', `all copies are in sync, ${nameOfNode(ensemble, others)} leads most`)
  return `${nameOfNode(ensemble, node)} was without the others for ${(performance.now() - begun).toFixed(0)} ms`
}

async function twoDown({ ensemble }: Scene, stage: Stage): Promise<string | undefined> {
  const victims = stage.random.shuffled(ensemble.nodes).slice(0, 2)
  const pids = victims.map(({ server }) => server.pid)
  const names = victims.map((node) => nameOfNode(ensemble, node)).join(' and ')
  stage.note('fault', `kill -9 of ${names}`)
  await Promise.all(victims.map(({ server }) => server.kill()))
  await sleep(stage.random.between(2_000, 5_000))
  await Promise.all(victims.map(({ server }) => server.start()))
  await ensemble.whole()
  stage.note('healed', `${names} are back, all copies are in sync`)
  return victims.every(({ server }, n) => server.pid !== pids[n]) ? `${names} are other processes` : undefined
}

async function rolling({ ensemble }: Scene, stage: Stage): Promise<string | undefined> {
  const pids = ensemble.nodes.map(({ server }) => server.pid)
  for (const node of stage.random.shuffled(ensemble.nodes)) {
    stage.note('fault', `kill -9 of ${nameOfNode(ensemble, node)}`)
    await node.server.kill()
    await sleep(stage.random.between(200, 1_000))
    await node.server.start()
    await ensemble.whole()
    stage.note('act', `${nameOfNode(ensemble, node)} is back, all copies are in sync`)
  }
  stage.note('healed', 'each node is another process')
  return ensemble.nodes.every(({ server }, n) => server.pid !== pids[n]) ? 'each node is another process' : undefined
}

async function replace({ ensemble }: Scene, stage: Stage): Promise<string | undefined> {
  const node = await ensemble.leader()
  const { pid } = node.server
  stage.note('fault', `kill -9 of ${nameOfNode(ensemble, node)}, all that it had is lost`)
  await node.server.kill()
  await sleep(stage.random.between(500, 2_000))
  await ensemble.replace(node)
  await ensemble.whole()
  stage.note('healed', `an empty ${nameOfNode(ensemble, node)} has copies of everything`)
  return node.server.pid === pid ? undefined : `${nameOfNode(ensemble, node)} began empty`
}
