import {
  type Binder,
  type BinderOptions,
  type Channel,
  createBinder,
  defineChannel,
  encodeMessage,
  sink,
} from 'concordat/binder'
import { postgresTransport } from 'concordat/postgres'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { isRetryable } from '../../support/inside/core.ts'
import { until } from '../../support/until.ts'
import { onPglite } from './support/on-pglite.ts'

const { sql } = onPglite()

let count = 0
const Payload = z.object({ n: z.number(), of: z.string() })
type Payload = z.infer<typeof Payload>

/** A sender of two channels, and a log that others have dropped and made again since: their numbers are the other way round. */
async function setup() {
  const schema = `anew${++count}`
  const channel = (name: string): Channel<Payload> =>
    defineChannel(name, { payload: Payload, key: ({ n }) => `k${n}`, partitions: 1, groups: ['g'] })
  const [first, second] = [channel('first'), channel('second')]
  const got: Payload[][] = [[], []]
  const started = async (options: Partial<BinderOptions>) => {
    const transport = postgresTransport({ sql, schema })
    const binder = createBinder({ service: 'test', transport, ...options })
    onTestFinished(() => binder.close())
    await binder.start()
    return { binder, transport }
  }
  const run = async (text: string): Promise<void> => void (await sql.query(text.replaceAll('{schema}', schema)))
  const drop = (): Promise<void> => run('DROP SCHEMA {schema} CASCADE')
  const makeAgain = async (): Promise<Binder> => {
    const bindings = [second, first].map((each) => {
      const list = got[each === first ? 0 : 1] as Payload[]
      return sink(each, { group: 'g', onFailure: 'drop' }, (payload) => void list.push(payload))
    })
    return (await started({ bindings })).binder
  }
  return { ...(await started({ sends: [first, second] })), started, first, second, got, run, drop, makeAgain }
}

/** Again while it is refused for now. */
async function eventually(send: () => Promise<unknown>): Promise<void> {
  await until('it is taken', () =>
    send().then(
      () => true,
      (error: unknown) => {
        if (isRetryable(error)) return false
        throw error
      },
    ),
  )
}

const of = (name: string) => (n: number) => ({ n, of: name })

describe('a sender that lives while the log is dropped and made again', () => {
  it.for(['notices nothing of it', 'sends meanwhile'] as const)('writes into the right channel: %s', async (how) => {
    const t = await setup()
    await t.binder.send(t.first, of('first')(0))
    await t.drop()
    if (how === 'sends meanwhile')
      await expect(t.binder.send(t.first, of('first')(1))).rejects.toMatchObject({ cause: { kind: 'mismatch' } })
    await t.makeAgain()
    for (const n of [2, 3]) await eventually(() => t.binder.send(t.first, of('first')(n)))
    for (const n of [4, 5]) await eventually(() => t.binder.send(t.second, of('second')(n)))
    await until('all came', () => t.got.flat().length >= 4)
    expect(t.got).toEqual([[2, 3].map(of('first')), [4, 5].map(of('second'))])
  })

  it('continues after the log was dropped and recreated, also with lists, delays and transactions, where a refusal rolls back', async () => {
    const t = await setup()
    await t.binder.send(t.first, of('first')(0))
    await t.drop()
    await t.makeAgain()
    const list = (name: string, from: number) => [from, from + 1, from + 2].map(of(name))
    await eventually(() => t.binder.sendBatch(t.first, list('first', 1)))
    await t.drop()
    await t.makeAgain()
    await eventually(() => t.binder.send(t.first, of('first')(4), { delayMs: 20 }))
    await until('these came', () => t.got[0]?.some(({ n }) => n === 4) === true)
    await t.drop()
    await t.makeAgain()
    const inside = async (channel: Channel<Payload>, payload: Payload): Promise<void> =>
      sql.transaction(async (tx) => {
        await t.transport.publishIn?.(tx, [await encodeMessage(channel, payload, 'test')])
      })
    await expect(inside(t.first, of('first')(5))).rejects.toMatchObject({ retryable: true })
    await inside(t.first, of('first')(6))
    await inside(t.second, of('second')(7))
    await until('all came', () => t.got.flat().some(({ n }) => n === 7) && t.got.flat().some(({ n }) => n === 6))
    expect(t.got[0]?.every((payload) => payload.of === 'first')).toBe(true)
    expect(t.got[1]).toEqual([of('second')(7)])
  })

  it.for(['one', 'a list', 'delayed'] as const)(
    'confirms nothing for a channel that a failover has lost: %s',
    async (what) => {
      const t = await setup()
      await t.binder.send(t.first, of('first')(0))
      for (const [table, column] of Object.entries({ tick: 'part', progress: 'part', partition: 'id' }))
        await t.run(
          `DELETE FROM {schema}.transport_${table} WHERE ${column} IN (SELECT id FROM {schema}.transport_partition WHERE destination = 'first')`,
        )
      await t.run(`DELETE FROM {schema}.transport_group WHERE destination = 'first'`)
      const payloads = [1, 2].map(of('first'))
      await eventually(() => {
        if (what === 'a list') return t.binder.sendBatch(t.first, payloads)
        return t.binder.send(t.first, of('first')(1), what === 'delayed' ? { delayMs: 20 } : {})
      })
      const got: Payload[] = []
      await t.started({ bindings: [sink(t.first, { group: 'g' }, (payload) => void got.push(payload))] })
      const expected = what === 'a list' ? payloads : [of('first')(1)]
      await until('it came', () => got.length >= expected.length)
      expect(got).toEqual(expected)
    },
  )

  it('makes its own missing channels again', async () => {
    const t = await setup()
    await t.binder.send(t.first, of('first')(0))
    await t.drop()
    const other = defineChannel('other', { payload: Payload, partitions: 1, groups: ['g'] })
    await t.started({ sends: [other] })
    await eventually(() => t.binder.send(t.first, of('first')(1)))
    const got: Payload[] = []
    await t.started({ bindings: [sink(t.first, { group: 'g' }, (payload) => void got.push(payload))] })
    await until('it came', () => got.length > 0)
    expect(got).toEqual([of('first')(1)])
  })
})

it('a surviving reader without a group reads no other channel, and gets the messages of its own', async () => {
  const t = await setup()
  const got: Payload[] = []
  await t.started({ bindings: [sink(t.first, {}, (payload) => void got.push(payload))] })
  await t.drop()
  await t.makeAgain()
  for (const n of [1, 2, 3]) await eventually(() => t.binder.send(t.second, of('second')(n)))
  let n = 10
  await until('it reads what is sent now', async () => {
    await eventually(() => t.binder.send(t.first, of('first')(++n)))
    return got.length > 0
  })
  expect(got.every((payload) => payload.of === 'first')).toBe(true)
})
