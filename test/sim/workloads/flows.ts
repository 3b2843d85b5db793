/**
 * A binder beyond plain consuming: outputs that are refused, a polled source, a circuit that is open while another
 * member joins.
 */

import type { SimulatedInstance, SimulatedWorld } from '@concordat/simulator'
import {
  type Binder,
  combineTransports,
  createBinder,
  defineChannel,
  pollable,
  processor,
  redrive,
  several,
  sink,
  TransportError,
} from 'concordat/binder'
import type { Transport } from 'concordat/extension'
import { type MemoryBroker, memoryBroker, memoryTransport } from 'concordat/memory'
import { z } from 'zod'
import { persist } from '../persist.ts'
import { override } from '../planted.ts'
import type { Workload } from '../workload.ts'

const Part = z.object({ key: z.string(), n: z.number().int() })
type Part = z.infer<typeof Part>
const channelOf = (name: string, partitions: number) =>
  defineChannel(name, { payload: Part, key: ({ key }) => key, groups: ['g'], partitions })
const orders = channelOf('orders', 1)
const parts = channelOf('parts', 1)
const jobs = channelOf('jobs', 1)
const calls = channelOf('calls', 2)
const letters = channelOf('letters', 1)

const PARTS = 12
const CALLERS = ['a', 'b', 'c', 'd'] as const
const KEEP_MS = 500
const RETRY = { maxAttempts: 1_000, backoff: { initialMs: 50, maxMs: 500 } }

class Known {
  /** Handled numbers by channel and key, each at its first time. */
  readonly handled = new Map<string, number[]>()
  /** Outputs that the broker still refuses, here and there. */
  refusals = 20
  isPolled = false
  listed = 0

  handle(channel: string, { key, n }: Part): void {
    const place = `${channel}/${key}`
    const before = this.handled.get(place) ?? []
    if (!before.includes(n)) this.handled.set(place, [...before, n])
  }

  count(place: string): number {
    return this.handled.get(place)?.length ?? 0
  }
}
let known = new Known()

const sleep = (durationMs: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, durationMs))

/** A broker that confirms each message for itself and has no room for some of them. */
function crowded(transport: Transport): Transport {
  return override(transport, {
    confirmsSingly: true,
    publish: async (messages, until) => {
      const isRefused = messages.map(
        ({ destination }) => destination === parts.name && Math.random() < 0.3 && known.refusals-- > 0,
      )
      const outcomes = [
        ...(await transport.publish(
          messages.filter((_, i) => isRefused[i] !== true),
          until,
        )),
      ]
      const refused = new TransportError({ transport: 'memory', kind: 'refused', message: 'the queue is full' })
      return messages.map((_, i) => (isRefused[i] === true ? refused : outcomes.shift()))
    },
  })
}

/** Makes many parts of each order, and receives them. */
async function startMaker({ transport, logger }: SimulatedInstance): Promise<void> {
  const make = processor(orders, parts, { group: 'g', ...RETRY }, ({ key }) =>
    several(Array.from({ length: PARTS }, (_, n) => ({ key, n: n + 1 }))),
  )
  const hear = sink(parts, { group: 'g', ...RETRY }, (part) => known.handle('parts', part))
  await createBinder({ service: 'maker', transport: crowded(transport), logger, bindings: [make, hear] }).start()
}

/** Asks for one job, pauses on command, asks once more, and then never again. */
async function startClerk({ transport, logger }: SimulatedInstance): Promise<void> {
  const place = pollable(jobs, { group: 'g', keepMs: KEEP_MS, ...RETRY })
  const binder = createBinder({ service: 'clerk', transport, logger, bindings: [place] })
  await binder.start()
  const poll = (waitMs: number): Promise<boolean> => binder.poll(place, (job) => known.handle('jobs', job), { waitMs })
  await poll(200)
  binder.binding('jobs.g').pause()
  await poll(10)
  known.isPolled = true
}

/** Does the jobs that the clerk does not ask for. */
async function startWorker({ transport, logger }: SimulatedInstance): Promise<void> {
  while (!known.isPolled) await sleep(100)
  const work = sink(jobs, { group: 'g', ...RETRY }, (job) => known.handle('jobs', job))
  await createBinder({ service: 'worker', transport, logger, bindings: [work] }).start()
}

/**
 * Members of one group on a broker of the process, which redelivers in the turn in which a message is given back: their
 * downstream is down, their circuits are open, and another one joins.
 */
class Callers {
  readonly #world: SimulatedWorld
  readonly #broker: MemoryBroker = memoryBroker()
  readonly #binders: Binder[] = []
  #isAway = true

  constructor(world: SimulatedWorld) {
    this.#world = world
  }

  async run(): Promise<void> {
    const { between } = this.#world
    await this.#join()
    for (let n = 1; n <= 3; n++) for (const key of CALLERS) await this.#binders[0]?.send(calls, { key, n })
    await this.#world.sleep(between(200, 400))
    await this.#join()
    await this.#world.sleep(between(0, 400))
    if (between(0, 1) === 1) this.#broker.interrupt()
    await this.#world.sleep(between(0, 300))
    this.#broker.recover()
    this.#isAway = false
    await this.#world.sleep(5_000)
    for (const binder of this.#binders) await binder.close()
  }

  async #join(): Promise<void> {
    const circuitBreaker = { failures: 3, pauseMs: 100 }
    const options = { group: 'g', concurrency: 4, circuitBreaker, ...RETRY }
    const call = sink(calls, options, (part) => {
      if (this.#isAway) throw new Error('what is called is away')
      known.handle('calls', part)
    })
    const { logger } = this.#world.client
    const transport = memoryTransport({ broker: this.#broker })
    const binder = createBinder({ service: 'caller', transport, logger, bindings: [call], sends: [calls] })
    await binder.start()
    this.#binders.push(binder)
  }
}

/** Lists dead letters of a channel that is assigned to a broker by name; an operator looks before redriving them. */
async function listLetters({ client: { logger } }: SimulatedWorld): Promise<void> {
  const brokers = { x: memoryBroker(), y: memoryBroker() }
  const connect = (): Transport =>
    combineTransports({
      transports: { x: memoryTransport({ broker: brokers.x }), y: memoryTransport({ broker: brokers.y }) },
      of: (destination) => (destination === letters.name ? 'y' : undefined),
      default: 'x',
    })
  const refuse = sink(letters, { group: 'g', maxAttempts: 1 }, () => {
    throw new Error('unreadable')
  })
  const transport = connect()
  const binder = createBinder({ service: 'reader', transport, logger, bindings: [refuse], sends: [letters] })
  await binder.start()
  for (let n = 1; n <= 2; n++) await binder.send(letters, { key: 'k', n })
  await sleep(500)
  await binder.close()
  const look = await redrive({ service: 'operator', transport: connect(), logger }, letters, 'g', { dryRun: true })
  known.listed = look.letters.length
}

async function work(world: SimulatedWorld): Promise<void> {
  known = new Known()
  const { transport, logger } = world.client
  const binder = createBinder({ service: 'client', transport, logger, sends: [orders, jobs] })
  await persist(world, () => binder.start())
  const callers = new Callers(world).run()
  for (let n = 1; n <= world.size; n++) {
    await persist(world, () => binder.send(orders, { key: `order-${n}`, n }))
    await persist(world, () => binder.send(jobs, { key: 'job', n }))
    await world.sleep(world.between(0, 500))
  }
  await callers
  await listLetters(world)
}

function isSettled({ size }: SimulatedWorld): boolean {
  const orders = Array.from({ length: size }, (_, n) => known.count(`parts/order-${n + 1}`))
  return orders.every((count) => count === PARTS) && known.count('jobs/job') === size
}

function requireOrder(): void {
  for (const [place, numbers] of known.handled) {
    const late = numbers.findIndex((n, index) => index > 0 && n < (numbers[index - 1] ?? 0))
    if (late > 0) throw new Error(`of "${place}" came ${numbers.join(', ')}`)
  }
}

function requireCalls(): void {
  for (const key of CALLERS) {
    if (known.count(`calls/${key}`) !== 3) throw new Error(`${known.count(`calls/${key}`)} of 3 calls of "${key}"`)
  }
}

function requireListed(): void {
  if (known.listed !== 2) throw new Error(`a dry run lists ${known.listed} of 2 letters`)
}

export const flows: Workload = {
  about:
    'outputs that are refused, a place that is polled, a circuit that is open while another joins: all in order, nothing stands still',
  mistakes: {},
  databases: [],
  size: 4,
  options: () => ({
    services: {
      maker: { start: startMaker },
      clerk: { instances: 1, start: startClerk },
      worker: { instances: 1, start: startWorker },
    },
    workload: work,
    settled: isSettled,
    invariants: { 'in order': requireOrder, 'each call is made': requireCalls, 'a dry run sees all': requireListed },
  }),
}
