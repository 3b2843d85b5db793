/** A setting in a shared state, announced over the bus; and a counter in the same state that every instance raises. */

import type { SimulatedInstance, SimulatedWorld } from '@concordat/simulator'
import { createBinder } from 'concordat/binder'
import { ConfigChanged, createBus, type WatchedConfig } from 'concordat/bus'
import { createSharedState, type SharedState } from 'concordat/cluster'
import { z } from 'zod'
import { persist } from '../persist.ts'
import type { Setting, Workload } from '../workload.ts'

const HEARTBEAT_MS = 1_000
const PAUSE_MS = 300
const Limit = z.object({ n: z.number().int() })
type State = SharedState<unknown>

/** Facts about one history, seen from outside. The workload creates it before any instance starts. */
class Known {
  readonly configs = new Map<string, WatchedConfig<{ n: number }>>()
  /** Values announced to each start of an instance, in order. */
  readonly heard = new Map<string, number[]>()
  raised = 0
  newest = 0
}

let known = new Known()

async function startNode(instance: SimulatedInstance, broken: string | undefined): Promise<void> {
  const { name, transport, logger } = instance
  const state: State = createSharedState({ store: instance.clusterStore(), name: 'settings', logger })
  const bus = createBus({ service: 'node', instance: name, heartbeatMs: HEARTBEAT_MS, logger })
  const config = bus.config('limit', {
    schema: Limit,
    initial: { n: 0 },
    ...(broken !== 'no-load' && { load: () => loadLimit(state) }),
  })
  const heard: number[] = []
  known.heard.set(`${name}/${instance.generation}`, heard)
  config.subscribe(({ n }) => void heard.push(n))
  known.configs.set(name, config)
  const binder = createBinder({
    service: 'node',
    instance: name,
    transport,
    logger,
    bindings: bus.bindings,
    sends: bus.channels,
  })
  await binder.start()
  await bus.start(binder)
  void raise(state, broken)
}

async function loadLimit(state: State): Promise<{ value: unknown; version: number } | undefined> {
  const { value, version } = await state.get('limit')
  return value === undefined ? undefined : { value, version }
}

/** Counts until the process ends. */
async function raise(state: State, broken: string | undefined): Promise<void> {
  for (;;) {
    const before = known
    await addOne(state, broken).then(
      () => (before.raised += 1),
      () => {},
    )
    await new Promise((resolve) => void setTimeout(resolve, PAUSE_MS))
  }
}

async function addOne(state: State, broken: string | undefined): Promise<void> {
  const next = (value: unknown): number => (typeof value === 'number' ? value : 0) + 1
  if (broken === 'put-blindly') await state.put('count', next((await state.get('count')).value))
  else await state.update('count', next, { maxAttempts: 20 })
}

async function change(world: SimulatedWorld): Promise<void> {
  known = new Known()
  const { client } = world
  const { transport, logger } = client
  const state: State = createSharedState({ store: client.clusterStore(), name: 'settings', logger })
  const bus = createBus({ service: 'operator', instance: 'operator', heartbeatMs: HEARTBEAT_MS, logger })
  const binder = createBinder({ service: 'operator', transport, logger, bindings: bus.bindings, sends: bus.channels })
  await persist(world, () => binder.start())
  await bus.start(binder)
  for (let n = 1; n <= world.size; n++) {
    const { version } = await persist(world, () => state.put('limit', { n }))
    const told = { name: 'limit', value: { n }, version }
    const telling = persist(world, () => bus.publish(ConfigChanged, told, { to: 'node:**' }))
    if (world.random() < 0.5) await telling
    await world.sleep(world.between(0, 1_500))
    known.newest = n
  }
}

/** Time for a check for gaps, its pauses after failures, and the load. */
async function requireNewest(world: SimulatedWorld): Promise<void> {
  await world.sleep(60 * HEARTBEAT_MS)
  for (const [name, config] of known.configs) {
    if (config.value.n !== known.newest)
      throw new Error(`${name} has ${config.value.n}, and the newest is ${known.newest}`)
  }
}

function requireForward(): void {
  for (const [name, heard] of known.heard) {
    const back = heard.findIndex((n, index) => index > 0 && n < (heard[index - 1] ?? 0))
    if (back > 0) throw new Error(`${name} heard ${heard.join(', ')}`)
  }
}

async function requireCount({ client }: SimulatedWorld): Promise<void> {
  const { raised } = known
  const { logger } = client
  const state: State = createSharedState({ store: client.clusterStore(), name: 'settings', logger })
  const { value } = await state.get('count')
  if (typeof value !== 'number' || value < raised)
    throw new Error(`the count is ${String(value)}, and ${raised} were confirmed`)
}

export const settings: Workload = {
  about: 'a shared state and the bus: everybody ends with the newest setting, nothing goes back, no count is lost',
  mistakes: {
    'no-load': 'a setting is only heard of, never read',
    'put-blindly': 'a value that was read is written back without its version',
  },
  databases: [],
  size: 5,
  options: ({ broken }: Setting) => ({
    services: { node: { instances: 3, start: (instance) => startNode(instance, broken) } },
    workload: change,
    invariants: {
      'all have the newest': requireNewest,
      'nothing goes back': requireForward,
      'no count is lost': requireCount,
    },
  }),
}
