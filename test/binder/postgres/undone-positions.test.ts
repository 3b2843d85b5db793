/** A standby that lagged was promoted, or a server crashed that does not wait for its disk: it has lost messages that readers have had. */
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { silentLogger } from 'concordat/core'
import { postgresTransport } from 'concordat/postgres'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { until } from '../../support/until.ts'
import { onPglite } from './support/on-pglite.ts'

const { sql } = onPglite()
const numbers = defineChannel('numbers', { payload: z.object({ n: z.number() }), partitions: 1, groups: ['g', 'h'] })
/** Tables of the log that a failover sets back. */
const TABLES = ['transport_log', 'transport_tick', 'transport_progress']

async function started(groups: readonly string[], got: Map<string, number[]>) {
  const binder = createBinder({
    service: 'test',
    transport: postgresTransport({ sql, pollMs: 20, commitIntervalMs: 1 }),
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
    for (const table of TABLES) await sql.query(`CREATE TABLE concordat.old_${table} AS TABLE concordat.${table}`)
    await send(5, 25)
    await until('the lost ones are settled', idle)
    await sql.transaction(async (tx) => {
      for (const table of TABLES) {
        await tx.query(`DELETE FROM concordat.${table}`)
        await tx.query(`INSERT INTO concordat.${table} SELECT * FROM concordat.old_${table}`)
      }
    })
    await send(25, 30)
    const all = (group: string): boolean => [25, 26, 27, 28, 29].every((n) => got.get(group)?.includes(n))
    await until('those sent since are handled', () => groups.every(all))
    await until('and settled', idle)
    expect(binder.health().status).toBe('up')
  },
  60_000,
)
