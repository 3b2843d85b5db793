/** A standby that lagged was promoted, or a server crashed that does not wait for its disk: it has lost messages that readers have had. */
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { type SqlClient, silentLogger } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { postgresTransport } from 'concordat/postgres'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { gate, until } from '../../support/until.ts'
import { onPglite } from './support/on-pglite.ts'

const { database, sql } = onPglite()
const numbers = defineChannel('numbers', { payload: z.object({ n: z.number() }), partitions: 1, groups: ['g', 'h'] })
/** Tables of the log that a failover sets back. */
const TABLES = ['transport_log', 'transport_tick', 'transport_progress']

async function started(groups: readonly string[], got: Map<string, number[]>, client: SqlClient = sql) {
  const binder = createBinder({
    service: 'test',
    transport: postgresTransport({ sql: client, pollMs: 20, commitIntervalMs: 1 }),
    sends: [numbers],
    bindings: groups.map((group) =>
      sink(numbers, { group }, ({ n }) => void got.set(group, [...(got.get(group) ?? []), n])),
    ),
    logger: silentLogger,
  })
  onTestFinished(() => binder.close())
  await binder.start()
  await binder.ready()
  return binder
}

const remember = async (): Promise<void> => {
  for (const table of TABLES) await sql.query(`CREATE TABLE concordat.old_${table} AS TABLE concordat.${table}`)
}
const setBack = (): Promise<void> =>
  sql.transaction(async (tx) => {
    for (const table of TABLES) {
      await tx.query(`DELETE FROM concordat.${table}`)
      await tx.query(`INSERT INTO concordat.${table} SELECT * FROM concordat.old_${table}`)
    }
  })

it.each([[['g']], [['g', 'h']]])(
  'a group gets the messages that are sent after its server has lost others that it had handled, when %j read',
  async (groups) => {
    await sql.query('DROP SCHEMA IF EXISTS concordat CASCADE')
    const got = new Map<string, number[]>()
    const binder = await started(groups, got)
    const send = async (from: number, to: number): Promise<void> => {
      for (let n = from; n < to; n++) await binder.send(numbers, { n })
    }
    const idle = async (): Promise<boolean> => {
      const lags = await Promise.all(groups.map((group) => binder.lag(`numbers.${group}`)))
      return lags.every((lag) => lag === 0)
    }
    await send(0, 5)
    await until('the first are settled', idle)
    await remember()
    await send(5, 25)
    await until('the lost ones are settled', idle)
    await setBack()
    await send(25, 30)
    const all = (group: string): boolean => [25, 26, 27, 28, 29].every((n) => got.get(group)?.includes(n))
    await until('those sent since are handled', () => groups.every(all))
    await until('and settled', idle)
    expect(binder.health().status).toBe('up')
  },
  60_000,
)

it('an idle group gets a message that another process has sent and given a position since the server lost others', async () => {
  await sql.query('DROP SCHEMA IF EXISTS concordat CASCADE')
  const got = new Map<string, number[]>()
  const [looking, sent] = [{ isHeld: false }, gate()]
  const client: SqlClient = {
    ...sql,
    query: async (text, parameters) => {
      if (looking.isHeld && text.includes('transport_pending')) await sent.opened
      return sql.query(text, parameters)
    },
  }
  const reader = await started(['g'], got, client)
  // On a client of its own, as in another process: it wakes no reader here.
  const sender = await started([], got, pgliteClient(database))
  const handled = (n: number) => until(`${n} is handled`, () => got.get('g')?.includes(n) === true)
  await sender.send(numbers, { n: 0 })
  await handled(0)
  await until('it is settled', async () => (await reader.lag('numbers.g')) === 0)
  await remember()
  for (let n = 1; n <= 3; n++) await sender.send(numbers, { n })
  await handled(3)
  await until('the lost ones are settled', async () => (await reader.lag('numbers.g')) === 0)
  looking.isHeld = true
  await setBack()
  await sender.send(numbers, { n: 4 })
  // Its position is below the one at which the reader waits.
  await sql.query(`SELECT concordat.transport_ends('numbers')`)
  sent.open()
  await handled(4)
}, 60_000)
