/** `once: true` in a service: every kind of binding uses its inbox, also where it could settle in its transaction; and what is refused. */
import {
  type Binding,
  createBinder,
  defineChannel,
  pollable,
  processor,
  processorBatch,
  produced,
  redrive,
  responder,
  sink,
  sinkBatch,
  TerminalError,
} from 'concordat/binder'
import { silentLogger } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import type { Receiver, SubscriptionSpec, Transport } from 'concordat/extension'
import { memoryTransport } from 'concordat/memory'
import { from, pipeline } from 'concordat/pipeline'
import { postgresTransport } from 'concordat/postgres'
import { createService, type Service } from 'concordat/service'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { freshPglite } from '../../support/pglite.ts'
import { until } from '../../support/until.ts'

const database = freshPglite()
const sql = pgliteClient(database)
beforeAll(async () => {
  await database.waitReady
  await sql.query('CREATE TABLE effect (channel text NOT NULL, n int NOT NULL)')
}, 180_000)
afterAll(() => database.close())

const payload = z.object({ n: z.number().int() })
const group = 'g'
const plain = (name: string) => defineChannel(name, { payload, groups: [group], partitions: 2 })
const transactional = (name: string) =>
  defineChannel(name, { payload, groups: [group], partitions: 2, transactional: true })
type Numbered = ReturnType<typeof plain>

async function started(name: string, bindings: readonly Binding[], sends: readonly unknown[]) {
  const log = postgresTransport({ sql, schema: 'once', pollMs: 20 })
  const service = createService({
    name,
    schema: name,
    sql,
    transport: log,
    bindings,
    sends: sends as readonly never[],
    logger: silentLogger,
  })
  onTestFinished(() => service.close())
  await service.start()
  await service.ready()
  return {
    service,
    /** Groups of the channel that settle in their handlers' transactions. */
    settling: ({ name: at }: { readonly name: string }) => log.settlingGroups?.(at),
    entries: async (at: { readonly name: string }): Promise<number | undefined> =>
      (await sql.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${name}.inbox WHERE channel = $1`, [at.name]))
        .rows[0]?.n,
    send: (at: Numbered, n: number) => service.transaction(async (tx) => tx.send(at as never, { n } as never)),
    settled: (binding: string) =>
      until('it is settled', async () => (await service.binder.lag(binding as never)) === 0),
  }
}

const effect = (channel: Numbered) =>
  sink(channel, { group, once: true }, async ({ n }, { tx }) => {
    await tx.query('INSERT INTO effect VALUES ($1, $2)', [channel.name, n])
  })

const effectsOf = async ({ name }: { readonly name: string }): Promise<readonly number[]> =>
  (await sql.query<{ n: number }>('SELECT n FROM effect WHERE channel = $1 ORDER BY n', [name])).rows.map(({ n }) => n)

describe('a binding of a service with `once: true`', () => {
  it('enters each message in the inbox, and leaves its settling to the transport', async () => {
    const [inside, beside] = [transactional('inside'), plain('beside')]
    const world = await started('sinks', [effect(inside), effect(beside)], [inside, beside])
    for (const [n, channel] of [inside, beside].entries()) {
      await world.send(channel, n)
      await until('it was handled', async () => (await effectsOf(channel)).length > 0)
      await world.settled(`${channel.name}.g`)
      expect(await effectsOf(channel)).toEqual([n])
      expect(await world.settling(channel)).toEqual([])
      expect(await world.entries(channel)).toBe(1)
    }
  })

  it('adds what a processor returns in the same transaction', async () => {
    const [input, output] = [transactional('both'), plain('both-out')]
    const got: number[] = []
    const bindings = [
      processor(input, output, { group, once: true }, ({ n }) => ({ n })),
      sink(output, { group: 'end' }, ({ n }) => void got.push(n)),
    ]
    const world = await started('outputs', bindings, [input])
    await world.send(input, 1)
    await until('the output came', () => got.length > 0)
    expect(got).toEqual([1])
    expect(await world.settling(input)).toEqual([])
    expect(await world.entries(input)).toBe(1)
  })

  it.each<[string, (channel: ReturnType<typeof transactional>) => Binding]>([
    ['sinkBatch', (channel) => sinkBatch(channel, { group, once: true }, () => {})],
    [
      'processorBatch',
      (channel) =>
        processorBatch(channel, plain('batches-out'), { group, once: true }, (items) =>
          items.map(({ payload: { n } }) => produced({ n })),
        ),
    ],
  ])('uses the inbox for the batches of a %s', async (kind, declare) => {
    const channel = transactional(kind.toLowerCase())
    const world = await started(kind.toLowerCase(), [declare(channel)], [channel])
    await world.send(channel, 1)
    await until('it was entered', async () => (await world.entries(channel)) === 1)
    expect(await world.settling(channel)).toEqual([])
  })

  it('uses the inbox for polls', async () => {
    const channel = transactional('polled')
    const jobs = pollable(channel, { group, once: true })
    const world = await started('polls', [jobs], [channel])
    await world.send(channel, 1)
    expect(await world.service.binder.poll(jobs, async (_, { tx }) => void (await tx.query('SELECT 1')))).toBe(true)
    expect(await world.entries(channel)).toBe(1)
    expect(await world.settling(channel)).toEqual([])
  })

  it('uses the inbox for requests, whose answers go to any service', async () => {
    const [asked, told] = [plain('asked'), plain('told')]
    const answer = responder(transactional('asked'), told, { group, once: true }, ({ n }) => ({ n: 2 * n }))
    const world = await started('answers', [answer], [asked])
    const requester = createBinder({
      service: 'requester',
      transport: postgresTransport({ sql, schema: 'once', pollMs: 20 }),
      sends: [asked],
      replies: [told],
    })
    onTestFinished(() => requester.close())
    await requester.start()
    expect(await requester.request(asked, { n: 2 }, { reply: told, timeoutMs: 60_000 })).toEqual({ n: 4 })
    expect(await world.entries(asked)).toBeGreaterThan(0)
    expect(await world.settling(asked)).toEqual([])
  })

  it('uses the inbox for each part of a pipeline, with its windows', async () => {
    const [input, middle, output] = [transactional('first'), plain('second'), plain('third')]
    const flow = from(input, { once: true })
      .window({ count: 2, initial: () => 0, add: (sum, { n }) => sum + n })
      .map(({ value }) => ({ n: value }))
      .through(middle)
      .tap(async ({ n }, { tx }) => void (await tx.query('INSERT INTO effect VALUES ($1, $2)', [middle.name, n])))
      .to(output)
    const world = await started('parts', pipeline('parts', flow).bindings, [input])
    await world.send(input, 1)
    await world.send(input, 2)
    await until('the window closed', async () => (await effectsOf(middle)).length > 0)
    expect(await effectsOf(middle)).toEqual([3])
    expect(await world.settling(input)).toEqual([])
    expect(await world.settling(middle)).toEqual([])
    expect(await world.entries(middle)).toBe(1)
  })
})

describe('the options of a binding that is applied once', () => {
  const channel = transactional('refused')
  const inbox = { hasOutbox: true, process: async () => 'processed', processBatch: async () => {} }
  const refused = (bind: (options: never) => Binding, options: object): (() => unknown) => {
    const declared = { transport: memoryTransport(), bindings: [bind({ group, ...options } as never)] }
    return () => createService({ name: 'refused', sql, ...declared })
  }
  const kinds: Readonly<Record<string, (options: never) => Binding>> = {
    sink: (options) => sink(channel, options, () => {}),
    processor: (options) => processor(channel, plain('o'), options, () => ({ n: 1 })),
    sinkBatch: (options) => sinkBatch(channel, options, () => {}),
    processorBatch: (options) => processorBatch(channel, plain('o'), options, () => {}),
    pollable: (options) => pollable(channel, options),
  }

  it.each(Object.entries(kinds))('name `once: true` where a %s has `true` for an inbox or a client', (kind, bind) => {
    expect(refused(bind, { inbox: true })).toThrow(new RegExp(`^${kind}\\("refused"\\)\\.inbox: .*once: true`))
    expect(refused(bind, { settlesIn: true })).toThrow(new RegExp(`^${kind}\\("refused"\\)\\.settlesIn: .*once: true`))
  })

  it.each(Object.entries(kinds))(
    'refuse another value than true, and an inbox or client beside it (%s)',
    (kind, bind) => {
      const at = `${kind}("refused")`
      expect(refused(bind, { once: false })).toThrow(`${at}.once: expected true, or nothing`)
      expect(refused(bind, { once: 'yes' })).toThrow(`${at}.once: expected true, or nothing`)
      expect(refused(bind, { once: true, inbox })).toThrow(`${at}.inbox: expected none beside once: true`)
      expect(refused(bind, { once: true, settlesIn: sql })).toThrow(`${at}.settlesIn: expected none beside once: true`)
    },
  )

  it('are refused in a pipeline as in its bindings', () => {
    const flow = from(channel, { once: true, inbox } as never)
      .window({ count: 1 })
      .forEach(() => {})
    const declared = { transport: memoryTransport(), bindings: pipeline('p', flow).bindings }
    expect(() => createService({ name: 'refused', sql, ...declared })).toThrow('inbox: expected none beside once: true')
  })

  it('need a group', () => {
    expect(refused(kinds['sink']!, { once: true, group: undefined })).toThrow('sink("refused").group: expected a group')
  })
})

it('a kill between a dead letter and the position of its message leaves a second copy, which a redrive drops', async () => {
  const channel = plain('killed')
  const failing = sink(channel, { group, once: true }, () => {
    throw new TerminalError('never')
  })
  const startedOn = async (log: Transport): Promise<Service> => {
    const options = { name: 'killed', schema: 'killed', sql, transport: log, bindings: [failing], sends: [channel] }
    const service = createService({ ...options, logger: silentLogger })
    onTestFinished(() => service.close())
    await service.start()
    return service
  }
  const lettersOf = ({ binder }: Service) => binder.deadLetters('killed.g')

  const killed = await startedOn(withoutSettling(transportOf()))
  await killed.send(channel, { n: 1 })
  await until('it is a dead letter', async () => (await lettersOf(killed)) === 1)
  await killed.close()
  const next = await startedOn(transportOf())
  await until('it is another one', async () => (await lettersOf(next)) === 2)

  const host = () => ({ service: 'ops', transport: transportOf(), logger: silentLogger })
  const looked = await redrive(host(), channel, group, { dryRun: true })
  expect(new Set(looked.letters.map(({ id, position }) => `${id} at ${position}`)).size).toBe(1)
  expect(await redrive(host(), channel, group, { to: 'group' })).toMatchObject({ sent: 1, kept: 0, copies: 1 })
})

const transportOf = (): Transport => postgresTransport({ sql, schema: 'once', pollMs: 20 })

/** Its messages are handled, and their positions never written. */
function withoutSettling(log: Transport): Transport {
  const subscribe = log.subscribe.bind(log)
  const deliverTo =
    (receiver: Receiver): Receiver['deliver'] =>
    (delivery) =>
      receiver.deliver(Object.assign(delivery, { ack: () => {} }))
  return Object.assign(log, {
    subscribe: (spec: SubscriptionSpec, receiver: Receiver) =>
      subscribe(spec, { ...receiver, deliver: deliverTo(receiver) }),
  })
}
