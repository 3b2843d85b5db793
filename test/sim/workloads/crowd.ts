/**
 * A bus of several processes: one with a clock that is ahead, loggers that throw, and an attacker who replays messages.
 * During faults events may be lost; the invariants are checked when all faults are over.
 */

import type { SimulatedInstance, SimulatedWorld } from '@concordat/simulator'
import { createBinder, type EncodedMessage } from 'concordat/binder'
import { type Bus, createBus, defineEvent, onEvent } from 'concordat/bus'
import { type Clock, type Logger, systemClock } from 'concordat/core'
import type { Transport } from 'concordat/extension'
import { z } from 'zod'
import { persist } from '../persist.ts'
import { override } from '../planted.ts'
import type { Workload } from '../workload.ts'

const SECRET = 'a secret of the crowd, which is long enough'
const HEARTBEAT_MS = 5_000
/** The fewest that a bus remembers. */
const REMEMBERS = 100
const AHEAD_MS = 40_000
const SKEW_MS = 1_000
/** Time after which a peer is dead whose announcements claim to come once a day. */
const GHOST_MS = 200_000
const NODES = 2
const ALL = { to: '**' }

const Ping = defineEvent('ping', { payload: z.object({ n: z.number().int() }) })
const Odd = defineEvent('odd', { payload: z.object({}) })
const Once = defineEvent('once', { payload: z.object({}) })

class Known {
  readonly signed = new Map<string, Bus>()
  readonly open = new Map<string, Bus>()
  /** Events of the talker, as published. */
  readonly said: EncodedMessage[] = []
  /** Next order for the talker. */
  order: 'flood' | 'say it once' | 'leave' | undefined
  /** Number of times that each node handled the event that may be handled once. */
  readonly once = new Map<string, number>()
  /** Offset of the nodes' clocks. */
  offsetMs = 0
}
let known = new Known()

const clockAt = (offsetMs: () => number): Clock => ({ ...systemClock, now: () => Date.now() + offsetMs() })
const sleep = (durationMs: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, durationMs))

/** Logger that throws, as on a full disk. */
const throwing = (logger: Logger): Logger => ({
  ...logger,
  warn: () => {
    throw new Error('the line cannot be written')
  },
})

const busOf = (kind: 'signed' | 'strict' | 'open', options: Omit<Parameters<typeof createBus>[0], 'service'>): Bus =>
  createBus({
    service: 'crowd',
    channel: `crowd.${kind}`,
    heartbeatMs: HEARTBEAT_MS,
    dedupeMaxEvents: REMEMBERS,
    ...(kind !== 'open' && { secret: SECRET }),
    ...(kind === 'strict' && { maxSkewMs: SKEW_MS, dedupeWindowMs: 2 * SKEW_MS }),
    ...options,
  })

async function join(buses: readonly Bus[], { name, logger }: SimulatedInstance, transport: Transport): Promise<void> {
  const binder = createBinder({
    service: 'crowd',
    instance: name,
    transport,
    logger,
    bindings: buses.flatMap((bus) => bus.bindings),
    sends: buses.flatMap((bus) => bus.channels),
  })
  await binder.start()
  for (const bus of buses) await bus.start(binder)
}

async function startNode(instance: SimulatedInstance): Promise<void> {
  const { name, logger } = instance
  let hasFailed = false
  const signed = busOf('signed', {
    instance: name,
    logger: throwing(logger),
    on: [
      onEvent(Ping, () => {}),
      onEvent(Odd, () => {
        if (hasFailed) return
        hasFailed = true
        throw new Error('odd')
      }),
    ],
  })
  const strict = busOf('strict', {
    instance: name,
    logger,
    clock: clockAt(() => known.offsetMs),
    on: [onEvent(Once, () => void known.once.set(name, (known.once.get(name) ?? 0) + 1))],
  })
  const open = busOf('open', { instance: name, logger, on: [onEvent(Ping, () => {})] })
  known.signed.set(name, signed)
  known.open.set(name, open)
  await join([signed, strict, open], instance, instance.transport)
}

/** Starts the process whose clock is ahead and that obeys orders. */
async function startTalker(instance: SimulatedInstance): Promise<void> {
  const { name, logger } = instance
  const heard = override(instance.transport, {
    publish: (messages, until) => {
      known.said.push(...messages)
      return instance.transport.publish(messages, until)
    },
  })
  const signed = busOf('signed', { instance: name, logger, clock: clockAt(() => AHEAD_MS) })
  const strict = busOf('strict', { instance: name, logger })
  const open = busOf('open', { instance: name, logger })
  await join([signed, strict, open], instance, heard)
  void obey({ signed, strict, open })
}

async function obey({ signed, strict, open }: Readonly<Record<'signed' | 'strict' | 'open', Bus>>): Promise<void> {
  for (;;) {
    await sleep(100)
    const { order } = known
    if (order === 'flood') {
      const pings = Array.from({ length: REMEMBERS + 50 }, (_, n) => signed.publish(Ping, { n }, ALL))
      await Promise.allSettled(pings)
    } else if (order === 'say it once') await strict.publish(Once, {}, ALL).catch(() => {})
    else if (order === 'leave') await Promise.all([signed.close(), open.close()])
    if (known.order === order) known.order = undefined
    if (order === 'leave') return
  }
}

class Operator {
  readonly #world: SimulatedWorld
  readonly #bus: Bus

  constructor(world: SimulatedWorld, bus: Bus) {
    this.#world = world
    this.#bus = bus
  }

  async order(order: NonNullable<Known['order']>): Promise<void> {
    known.order = order
    while (known.order !== undefined) await sleep(100)
    await sleep(1_000)
  }

  /** Requires an answer of every live node. */
  async requireAnswers(when: string): Promise<void> {
    const { acked, missing, failed } = await this.#bus.publish(Ping, { n: 0 }, { to: 'crowd:**', ack: true })
    const nodes = acked.filter((address) => address.includes('node'))
    if (nodes.length === NODES) return
    const others = [...missing, ...failed.map(({ address }) => address)].join(', ')
    throw new Error(`${when} ${nodes.length} of ${NODES} nodes answer, not ${others}`)
  }

  async odd(): Promise<void> {
    await this.#bus.publish(Odd, {}, { to: 'crowd:**', ack: true })
  }

  /** Puts messages on the broker once more, as they are. */
  async play(messages: readonly EncodedMessage[]): Promise<void> {
    await this.#world.client.transport.publish(messages)
    await sleep(1_000)
  }
}

let operator: Operator

async function meet(world: SimulatedWorld): Promise<void> {
  known = new Known()
  const { transport, logger, name } = world.client
  const bus = busOf('signed', { instance: name, logger })
  operator = new Operator(world, bus)
  const binder = createBinder({ service: 'operator', transport, logger, bindings: bus.bindings, sends: bus.channels })
  await persist(world, () => binder.start())
  await bus.start(binder)
  for (let n = 1; n <= world.size; n++) {
    await bus.publish(Ping, { n }, ALL).catch((error: Error) => world.note(error.message))
    await world.sleep(world.between(0, 1_000))
  }
}

/** Requires that every node has joined again and has been seen. */
async function requireAllThere(world: SimulatedWorld): Promise<void> {
  await world.sleep(12 * HEARTBEAT_MS)
  await operator.requireAnswers('when all is fixed')
}

async function requireAfterFlood(): Promise<void> {
  await operator.order('flood')
  await operator.requireAnswers('after a flood of one whose clock is ahead')
}

async function requireAfterFailure(): Promise<void> {
  await operator.odd()
  await operator.requireAnswers('after a handler that failed')
}

/** Requires that an event forgotten by age is not taken for new when the clock was set back. */
async function requireOnce(world: SimulatedWorld): Promise<void> {
  await operator.order('say it once')
  const [said] = known.said.filter(({ headers }) => headers['bus-event'] === Once.name).slice(-1)
  if (said === undefined) throw new Error('it was not said')
  const before = new Map(known.once)
  await world.sleep(2 * SKEW_MS)
  known.offsetMs = said.time - Date.now()
  await operator.play([said])
  known.offsetMs = 0
  for (const [name, times] of known.once)
    if (times !== before.get(name)) throw new Error(`${name} handled once more what it had handled`)
}

const isTalker = (address: { readonly instance: string }): boolean => address.instance.startsWith('talker')

async function requireNoGhost(): Promise<void> {
  const [last] = known.said
    .filter(({ headers }) => headers['bus-presence'] === 'here' && headers['bus-signature'] !== undefined)
    .filter(({ destination }) => destination.startsWith('crowd.signed'))
    .slice(-1)
  if (last === undefined) throw new Error('it never said that it is there')
  await operator.order('leave')
  await operator.play([last])
  for (const [name, bus] of known.signed)
    if ((await bus.members()).some(isTalker)) throw new Error(`${name} believes that who has left is there`)
}

async function requireGhostDies(world: SimulatedWorld): Promise<void> {
  const [last] = known.said
    .filter(({ headers, destination }) => headers['bus-presence'] === 'here' && destination.startsWith('crowd.open'))
    .slice(-1)
  if (last === undefined) throw new Error('it never said that it is there')
  const headers = { ...last.headers, 'bus-interval': 86_400_000, 'bus-session': 'made-up' }
  await operator.play([{ ...last, id: 'made-up', time: last.time + GHOST_MS, headers }])
  await world.sleep(GHOST_MS)
  for (const [name, bus] of known.open)
    if ((await bus.members()).some(isTalker)) throw new Error(`${name} believes in a ghost`)
}

export const crowd: Workload = {
  about:
    'a bus with a clock that is ahead, loggers that throw, and messages that are played again: who is there answers, once',
  mistakes: {},
  databases: [],
  size: 4,
  options: () => ({
    services: {
      node: { instances: NODES, start: startNode },
      talker: { instances: 1, start: startTalker },
    },
    workload: meet,
    invariants: {
      'everybody answers': requireAllThere,
      'a flood of one deafens nobody': requireAfterFlood,
      'a failure deafens nobody': requireAfterFailure,
      'handled once': requireOnce,
      'who has left is gone': requireNoGhost,
      'a ghost dies': requireGhostDies,
    },
  }),
}
