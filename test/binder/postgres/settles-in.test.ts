import {
  type BinderOptions,
  type CannotSettleIn,
  type ConsumerBinding,
  createBinder,
  defineChannel,
  encodeMessage,
  processor,
  sink,
  source,
  TerminalError,
} from 'concordat/binder'
import { memoryTransport } from 'concordat/binder/memory'
import { postgresTransport } from 'concordat/binder/postgres'
import { pgliteClient } from 'concordat/core/pglite'
import { createOutbox } from 'concordat/outbox'
import { createService } from 'concordat/service'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
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

const upTo = (count: number): number[] => Array.from({ length: count }, (_, n) => n)

it.each([1, 8])('with concurrency %i each effect commits with its place, and leaves no row in an inbox', async (n) => {
  const channel = channelOf(`plain-${n}`)
  const { binder, send } = await started(channel, [effect(channel, n)])
  await send(...upTo(40))
  await until('all are settled', async () => (await binder.lag(`${channel.name}.g`)) === 0)
  expect(await effectsOf(channel)).toEqual(upTo(40))
  expect((await sql.query(`SELECT to_regclass('settles_in.inbox') AS t`)).rows).toEqual([{ t: null }])
})

it('what fails is tried again, and goes to the dead letters with its place', async () => {
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

it('what a processor returns is sent in the same transaction', async () => {
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

it('in a service `settlesIn: true` is its own database', async () => {
  const channel = channelOf('own')
  const binding = sink(channel, { group: 'g', settlesIn: true }, async ({ n }, { tx }) => {
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

it('so is one that nobody declared, of which `unlisted` says it', async () => {
  const channel = channelOf('unlisted')
  const { binder } = await started(channelOf('listed'), [], { unlisted: () => channel })
  const message = await encodeMessage(channel, { n: 1 }, 'test')
  const refused = [expect.objectContaining({ kind: 'mismatch', destination: channel.name })]
  expect(await binder.publish([message])).toEqual(refused)
  expect(await binder.publish([message])).toEqual(refused)
})

it.each<[CannotSettleIn['why'], () => BinderOptions]>([
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
])('is refused where its %s does not allow it', (why, options) => {
  expect(() => createBinder(options())).toThrow(expect.objectContaining({ code: 'binder.cannot_settle_in', why }))
})

it('is refused beside an inbox, without a group, and `true` without a service', () => {
  const channel = channelOf('wrong')
  const transport = () => postgresTransport({ sql })
  const refused = (options: object): (() => unknown) => {
    const binding = sink(channel, options as { group: string; settlesIn: true }, () => {})
    return () => createBinder({ service: 't', transport: transport(), bindings: [binding] })
  }
  expect(refused({ group: 'g', settlesIn: sql, inbox: { hasOutbox: true, process: () => {} } })).toThrow('settlesIn')
  expect(refused({ settlesIn: sql })).toThrow('group')
  expect(refused({ group: 'g', settlesIn: true })).toThrow('createService')
  expect(refused({ group: 'g', settlesIn: 'yes' })).toThrow('SqlClient')
})
