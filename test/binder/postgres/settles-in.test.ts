import { createOperator } from '@concordat/cli'
import {
  type BinderError,
  type BinderOptions,
  type Channel,
  type ConsumerBinding,
  combineTransports,
  createBinder,
  defineChannel,
  encodeMessage,
  pollable,
  processor,
  redrive,
  sink,
  sinkBatch,
  source,
  TerminalError,
  to,
} from 'concordat/binder'
import { pgliteClient } from 'concordat/core/pglite'
import type { Transport } from 'concordat/extension'
import { memoryTransport } from 'concordat/memory'
import { createOutbox } from 'concordat/outbox'
import { postgresTransport } from 'concordat/postgres'
import { createService } from 'concordat/service'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import type { RedriveOptions, RedriveReport } from '../../support/inside/binder.ts'
import { freshPglite } from '../../support/pglite.ts'
import { until } from '../../support/until.ts'

const database = freshPglite()
const sql = pgliteClient(database)
beforeAll(async () => {
  await database.waitReady
  await sql.query('CREATE TABLE effect (channel text NOT NULL, n int NOT NULL)')
}, 180_000)
afterAll(() => database.close())

const Numbered = z.object({ n: z.number().int() })
const channelOf = (name: string) =>
  defineChannel(name, {
    payload: Numbered,
    key: ({ n }) => String(n % 3),
    groups: ['g'],
    partitions: 2,
    transactional: true,
  })
type NumberedChannel = ReturnType<typeof channelOf>

async function started(
  channel: NumberedChannel,
  bindings: readonly ConsumerBinding[],
  more: Partial<BinderOptions> = {},
) {
  const transport = postgresTransport({ sql, schema: 'settles_in', pollMs: 20 })
  const outbox = createOutbox({ sql, service: 'test', schema: 'settles_in', transport })
  const binder = createBinder({ service: 'test', transport, bindings, drainTimeoutMs: 2_000, ...more })
  onTestFinished(() => binder.close())
  await binder.start()
  await binder.ready()
  const send = (...numbers: readonly number[]): Promise<void> =>
    sql.transaction(async (tx) => {
      for (const n of numbers) await outbox.add(tx, channel, { n })
    })
  return { binder, send }
}

const effectsOf = async ({ name }: NumberedChannel): Promise<readonly number[]> => {
  const { rows } = await sql.query<{ n: number }>('SELECT n FROM effect WHERE channel = $1 ORDER BY n', [name])
  return rows.map(({ n }) => n)
}

const effect = (channel: NumberedChannel, concurrency = 1, handled?: (n: number) => void) =>
  sink(channel, { group: 'g', settlesIn: sql, concurrency, backoff: { initialMs: 0 } }, async ({ n }, { tx }) => {
    await tx.query('INSERT INTO effect VALUES ($1, $2)', [channel.name, n])
    handled?.(n)
  })

/** `there` and its children are in memory, all other channels in the log. */
function beside(log: Transport) {
  const memory = memoryTransport()
  return {
    memory,
    transport: combineTransports({ transports: { log, memory }, of: { there: 'memory' }, default: 'log' }),
  }
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, n) => n)

it.each([1, 8])(
  'with concurrency %i each effect commits with its position, and leaves no row in an inbox',
  async (n) => {
    const channel = channelOf(`plain-${n}`)
    const { binder, send } = await started(channel, [effect(channel, n)])
    await send(...upTo(40))
    await until('all are settled', async () => (await binder.lag(`${channel.name}.g`)) === 0)
    expect(await effectsOf(channel)).toEqual(upTo(40))
    expect((await sql.query(`SELECT to_regclass('settles_in.inbox') AS t`)).rows).toEqual([{ t: null }])
  },
)

it('a failed message is retried, and dead-lettered with its position', async () => {
  const channel = channelOf('failing')
  let failures = 0
  const binding = effect(channel, 4, (n) => {
    if (n === 3) throw new TerminalError('never')
    if (n === 5 && failures++ === 0) throw new Error('once')
  })
  const { binder, send } = await started(channel, [binding])
  await send(...upTo(8))
  await until('all are settled', async () => (await binder.lag('failing.g')) === 0)
  expect(await effectsOf(channel)).toEqual([0, 1, 2, 4, 5, 6, 7])
  expect(await binder.deadLetters('failing.g')).toBe(1)
})

it('a processor sends its result in the same transaction', async () => {
  const [input, output] = [channelOf('input'), channelOf('output')]
  const doubled = processor(input, output, { group: 'g', settlesIn: sql, concurrency: 4 }, async ({ n }, { tx }) => {
    await tx.query('INSERT INTO effect VALUES ($1, $2)', [input.name, n])
    return { n: 2 * n }
  })
  const { binder, send } = await started(input, [doubled, effect(output)])
  await send(...upTo(5))
  await until(
    'all are settled',
    async () => (await binder.lag('output.g')) === 0 && (await effectsOf(output)).length > 4,
  )
  expect(await effectsOf(output)).toEqual([0, 2, 4, 6, 8])
  expect(await effectsOf(input)).toEqual(upTo(5))
})

it('a copy for a delayed attempt takes the place of the message in one transaction', async () => {
  const channel = channelOf('delayed')
  const attempts: number[] = []
  const options = { group: 'g', settlesIn: sql, retry: 'delayed', backoff: { initialMs: 1, jitter: 0 } } as const
  const binding = sink(channel, options, async ({ n }, { tx, attempt }) => {
    await tx.query('INSERT INTO effect VALUES ($1, $2)', [channel.name, n])
    attempts.push(attempt)
    if (attempt < 3) throw new Error('not yet')
  })
  const { send } = await started(channel, [binding])
  await send(7)
  await until('it was handled', async () => (await effectsOf(channel)).length > 0)
  expect(attempts).toEqual([1, 2, 3])
  expect(await effectsOf(channel)).toEqual([7])
})

it('settlesIn works in a service, with its database', async () => {
  const channel = channelOf('own')
  const binding = sink(channel, { group: 'g', settlesIn: sql }, async ({ n }, { tx }) => {
    await tx.query('INSERT INTO effect VALUES ($1, $2)', [channel.name, n])
  })
  const transport = postgresTransport({ sql, schema: 'settles_in', pollMs: 20 })
  const service = createService({ name: 'own', schema: 'own', sql, transport, bindings: [binding], sends: [channel] })
  onTestFinished(() => service.close())
  await service.start()
  await service.transaction((tx) => tx.send(channel, { n: 1 }))
  await until('it was handled', async () => (await effectsOf(channel)).length > 0)
  expect(await effectsOf(channel)).toEqual([1])
})

it('a channel that is transactional is sent to in transactions alone', async () => {
  const channel = channelOf('only')
  const ticks = source(channel, { everyMs: 60_000 }, () => ({ n: 1 }))
  const { binder } = await started(channel, [effect(channel)], { sends: [channel] })
  await expect(binder.send(channel, { n: 1 })).rejects.toMatchObject({
    code: 'binder.send',
    retryable: false,
    message: expect.stringContaining('outbox.add') as string,
  })
  const other = createBinder({ service: 'ticks', transport: memoryTransport(), bindings: [ticks] })
  onTestFinished(() => other.close())
  await other.start()
  await until('it halts', () => other.bindings()[0]?.state === 'halted')
  const elsewhere = createOutbox({ sql, service: 'test' })
  await expect(sql.transaction((tx) => elsewhere.add(tx, channel, { n: 1 }))).rejects.toThrow('transactional')
})

it('an undeclared channel counts as transactional with `unlisted`', async () => {
  const channel = channelOf('unlisted')
  const { binder } = await started(channelOf('listed'), [], { unlisted: () => channel })
  const message = await encodeMessage(channel, { n: 1 }, 'test')
  const refused = [expect.objectContaining({ kind: 'mismatch', destination: channel.name })]
  expect(await binder.publish([message])).toEqual(refused)
  expect(await binder.publish([message])).toEqual(refused)
})

it.each<[BinderError<'binder.cannot_settle_in'>['why'], () => BinderOptions]>([
  ['transport', () => ({ service: 't', transport: memoryTransport(), bindings: [effect(channelOf('c'))] })],
  [
    'database',
    () => ({ service: 't', transport: postgresTransport({ sql: { ...sql } }), bindings: [effect(channelOf('c'))] }),
  ],
  [
    'channel',
    () => ({
      service: 't',
      transport: postgresTransport({ sql }),
      bindings: [effect(defineChannel('c', { payload: Numbered }) as NumberedChannel)],
    }),
  ],
  [
    'output',
    () => ({
      service: 't',
      transport: beside(postgresTransport({ sql })).transport,
      bindings: [processor(channelOf('here'), channelOf('there'), { group: 'g', settlesIn: sql }, ({ n }) => ({ n }))],
    }),
  ],
  [
    'transport',
    () => ({
      service: 't',
      transport: beside(postgresTransport({ sql })).transport,
      bindings: [effect(channelOf('there'))],
    }),
  ],
  [
    'batch',
    () => ({
      service: 't',
      transport: postgresTransport({ sql }),
      bindings: [sinkBatch(channelOf('c'), { group: 'g', settlesIn: sql } as never, () => {})],
    }),
  ],
  [
    'poll',
    () => ({
      service: 't',
      transport: postgresTransport({ sql }),
      bindings: [pollable(channelOf('c'), { group: 'g', settlesIn: sql } as never)],
    }),
  ],
])('settlesIn is refused where its %s does not allow it', (why, options) => {
  expect(() => createBinder(options())).toThrow(expect.objectContaining({ code: 'binder.cannot_settle_in', why }))
})

it('settlesIn is refused beside an inbox, without a group, and without a client', () => {
  const channel = channelOf('wrong')
  const transport = () => postgresTransport({ sql })
  const refused = (options: object): (() => unknown) => {
    const binding = sink(channel, options as { group: string; settlesIn: typeof sql }, () => {})
    return () => createBinder({ service: 't', transport: transport(), bindings: [binding] })
  }
  expect(refused({ group: 'g', settlesIn: sql, inbox: { hasOutbox: true, process: () => {} } })).toThrow('settlesIn')
  expect(refused({ settlesIn: sql })).toThrow('group')
  expect(refused({ group: 'g', settlesIn: true })).toThrow('once: true')
  expect(refused({ group: 'g', settlesIn: 'yes' })).toThrow('SqlClient')
})

it('settlesIn works on one of several transports, and keeps dead letters, retries and redrives in that transaction', async () => {
  const channel = channelOf('combined')
  const { transport } = beside(postgresTransport({ sql, schema: 'settles_in', pollMs: 20 }))
  const outbox = createOutbox({ sql, service: 'test', schema: 'settles_in', transport })
  let isBroken = true
  const options = { group: 'g', settlesIn: sql, retry: 'delayed', maxAttempts: 2, backoff: { initialMs: 1 } } as const
  const binding = sink(channel, options, async ({ n }, { tx }) => {
    await tx.query('INSERT INTO effect VALUES ($1, $2)', [channel.name, n])
    if (n === 3 && isBroken) throw new Error('not yet')
  })
  const binder = createBinder({ service: 'test', transport, bindings: [binding] })
  onTestFinished(() => binder.close())
  await binder.start()
  await binder.ready()
  await sql.transaction(async (tx) => {
    for (const n of upTo(6)) await outbox.add(tx, channel, { n })
  })
  await until('one is dead', async () => (await binder.deadLetters('combined.g')) === 1)
  await until('all are settled', async () => (await binder.lag('combined.g')) === 0)
  expect(await effectsOf(channel)).toEqual([0, 1, 2, 4, 5])
  isBroken = false
  const other = beside(postgresTransport({ sql, schema: 'settles_in', pollMs: 20 }))
  expect(await redrive({ service: 'ops', transport: other.transport }, channel, 'g')).toMatchObject({ sent: 1 })
  await until('it is handled', async () => (await effectsOf(channel)).length === 6)
  expect(await effectsOf(channel)).toEqual(upTo(6))
})

describe('a redrive of a dead letter beside another group that settles in its transaction', () => {
  /** Group `g` has handled a message, group `mail` has failed on it. */
  async function withLetter(name: string) {
    const channel = channelOf(name)
    const mailed: number[] = []
    const state = { isBroken: true }
    const options = { group: 'mail', settlesIn: sql, maxAttempts: 1 } as const
    const mail = sink(channel, options, ({ n }) => {
      if (state.isBroken) throw new Error('no (made by the test)')
      mailed.push(n)
    })
    const { binder, send } = await started(channel, [effect(channel), mail])
    await send(7)
    const letters = (): Promise<number | undefined> => binder.deadLetters(`${name}.mail`)
    await until('it is a dead letter', async () => (await letters()) === 1 && (await effectsOf(channel)).length === 1)
    state.isBroken = false
    const transport = (): Transport => postgresTransport({ sql, schema: 'settles_in', pollMs: 20, provision: 'check' })
    const operator = createOperator({ sql, schema: 'settles_in', transport })
    await operator.migrate({ by: 'ann', reason: 'setup', parts: ['operator'] })
    const place = { channel: name, group: 'mail' }
    const run = (options: RedriveOptions = {}, of: Channel = channel as unknown as Channel) =>
      redrive({ service: 'ops', transport: transport() }, of, 'mail', options)
    return { channel, mailed, letters, run, operator, place }
  }

  const note = { by: 'ann', reason: 'it is back', dryRun: false } as const
  const undeclared = defineChannel('redriven-undeclared', { payload: Numbered, partitions: 2 }) as unknown as Channel

  it.each<[string, (world: Awaited<ReturnType<typeof withLetter>>) => Promise<RedriveReport>]>([
    ['declared', ({ run }) => run()],
    ['undeclared', ({ run }) => run({}, undeclared)],
    ['operated', ({ operator, place }) => operator.letters.redrive(place, note)],
  ])('reaches the failed group alone (%s)', async (how, act) => {
    const world = await withLetter(`redriven-${how}`)
    expect(await act(world)).toMatchObject({ sent: 1, complete: true, to: 'group' })
    await until('it is handled', () => world.mailed.length > 0)
    await until('nothing waits', async () => (await world.operator.letters.lag({ ...world.place, group: 'g' })) === 0)
    expect(world.mailed).toEqual([7])
    expect(await effectsOf(world.channel)).toEqual([7])
  })

  it('to every group is refused, and moves nothing', async () => {
    const { channel, letters, run, operator, place } = await withLetter('redriven-refused')
    const refusal = { code: 'binder.redrive_would_repeat', retryable: false, channel: channel.name, group: 'mail' }
    await expect(run({ to: 'channel' })).rejects.toMatchObject(refusal)
    await expect(run({ to: 'channel', dryRun: true })).rejects.toMatchObject(refusal)
    await expect(operator.letters.redrive(place, { ...note, to: 'channel' })).rejects.toMatchObject(refusal)
    expect(await letters()).toBe(1)
    expect(await effectsOf(channel)).toEqual([7])
  })

  it('is refused also where the channel is not declared as transactional', async () => {
    const { channel, letters, run } = await withLetter('redriven-misdeclared')
    const misdeclared = defineChannel(channel.name, { payload: Numbered, partitions: 2 }) as unknown as Channel
    const refusal = { code: 'binder.redrive_would_repeat', why: 'settles', channel: channel.name, group: 'mail' }
    await expect(run({ to: 'channel' }, misdeclared)).rejects.toMatchObject(refusal)
    expect(await letters()).toBe(1)
    expect(await effectsOf(channel)).toEqual([7])
  })
})

it('an output to another broker leaves through the outbox, and only after the commit', async () => {
  const there = defineChannel('there.mails', { payload: Numbered, groups: ['g'] })
  const here = channelOf('here-too')
  const { transport } = beside(postgresTransport({ sql, schema: 'settles_in', pollMs: 20 }))
  const mails: number[] = []
  const service = createService({
    name: 'beside',
    sql,
    schema: 'beside',
    transport,
    sends: [here, there],
    bindings: [
      sink(here, { group: 'g', settlesIn: sql }, async ({ n }, { tx }) => {
        await tx.query('INSERT INTO effect VALUES ($1, $2)', [here.name, n])
      }),
      sink(there, { group: 'g' }, ({ n }) => void mails.push(n)),
    ],
  })
  onTestFinished(() => service.close())
  await service.start()
  await service.ready()
  const sendBoth = (n: number, fail: boolean): Promise<void> =>
    service.transaction(async (tx) => {
      await tx.send(here, { n })
      await tx.send(there, { n })
      if (fail) throw new Error('undone')
    })
  await expect(sendBoth(1, true)).rejects.toThrow('undone')
  await sendBoth(2, false)
  await until('both came', async () => mails.length > 0 && (await effectsOf(here)).length > 0)
  expect(mails).toEqual([2])
  expect(await effectsOf(here)).toEqual([2])
})

it('an output to a run-time destination on another broker fails its message, without its effect', async () => {
  const channel = channelOf('routes')
  const elsewhere = channelOf('there.routed')
  const { transport } = beside(postgresTransport({ sql, schema: 'settles_in', pollMs: 20 }))
  const outbox = createOutbox({ sql, service: 'test', schema: 'settles_in', transport })
  const options = { group: 'g', settlesIn: sql, maxAttempts: 1 } as const
  const binding = processor(channel, channelOf('routes-out'), options, async ({ n }, { tx }) => {
    await tx.query('INSERT INTO effect VALUES ($1, $2)', [channel.name, n])
    return to(elsewhere, { n })
  })
  const binder = createBinder({ service: 'test', transport, bindings: [binding], sends: [elsewhere] })
  onTestFinished(() => binder.close())
  await binder.start()
  await binder.ready()
  await sql.transaction(async (tx) => void (await outbox.add(tx, channel, { n: 1 })))
  await until('it is dead', async () => (await binder.deadLetters('routes.g')) === 1)
  expect(await effectsOf(channel)).toEqual([])
})
