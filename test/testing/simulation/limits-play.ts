/**
 * Plays services whose transactions have limits, in a process of its own: PGlite would block it permanently. Started by
 * `limits.test.ts`.
 */

import { type SimulatedInstance, type SimulatedWorld, simulate } from '@concordat/simulator'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { createOutbox } from 'concordat/outbox'
import { postgresTransport } from 'concordat/postgres'
import { z } from 'zod'
import { freshPglite } from '../../support/pglite.ts'

const order = z.object({ n: z.number() })
const orders = defineChannel('orders', { payload: order, groups: ['shop'], partitions: 1, transactional: true })
const ORDERS = 5
const LEASE_MS = 1_000
const wait = (durationMs: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, durationMs))

/** Once it takes longer than the server waits for a transaction in which nothing happens. */
async function startShop({ logger, sql }: SimulatedInstance): Promise<void> {
  const shop = sql('shop')
  let hasWaited = false
  const take = sink(orders, { group: 'shop', settlesIn: shop }, async ({ n }, { tx }) => {
    await tx.query('INSERT INTO taken VALUES ($1)', [n])
    if (n !== 2 || hasWaited) return
    hasWaited = true
    await wait(3 * LEASE_MS)
  })
  const transport = postgresTransport({ sql: shop, leaseMs: LEASE_MS })
  await createBinder({ service: 'shop', transport, logger, bindings: [take] }).start()
}

/** Duration of a transaction that runs all the time. */
async function startClerk({ note, sql }: SimulatedInstance): Promise<void> {
  const shop = sql('shop')
  for (const limits of [
    'SET LOCAL transaction_timeout = 1500',
    "set transaction_timeout to '2 s'",
    'SET LOCAL transaction_timeout = 0',
    'SET LOCAL idle_in_transaction_session_timeout = 500',
  ])
    note(`${limits}: ${await lastsMs(shop, limits)} ms`)
  await shop.transaction(async ({ limits }) => note(`limits of ${limits?.idleMs} ms`), { idleMs: 700 })
}

async function lastsMs(sql: SqlClient, limits: string): Promise<number> {
  let lastedMs = 0
  await sql
    .transaction(async (tx) => {
      await tx.query(limits)
      for (; lastedMs < 4_000; lastedMs += 250) {
        await wait(250)
        await tx.query('SELECT 1')
      }
    })
    .catch(() => undefined)
  return lastedMs
}

async function place({ client }: SimulatedWorld): Promise<void> {
  const sql = client.sql('shop')
  const transport = postgresTransport({ sql })
  await createBinder({ service: 'client', transport, logger: client.logger, sends: [orders] }).start()
  const outbox = createOutbox({ sql, service: 'client', transport })
  for (let n = 0; n < ORDERS; n++) await sql.transaction((tx) => outbox.add(tx, orders, { n }))
}

const pglite = freshPglite()
const told = new Set<string>()
await simulate({
  services: { shop: { start: startShop }, clerk: { instances: 1, start: startClerk } },
  databases: {
    shop: {
      pglite,
      prepare: async (sql) => {
        await postgresTransport({ sql }).migrate()
        await sql.query('CREATE TABLE taken (n int)')
      },
    },
  },
  workload: place,
  settled: async ({ client }) => (await client.sql('shop').query('SELECT FROM taken')).rowCount >= ORDERS,
  invariants: {
    'each once': async ({ client }) => {
      const { rows } = await client.sql('shop').query<{ n: number }>('SELECT n FROM taken ORDER BY n')
      return rows.map(({ n }) => n).join() === '0,1,2,3,4'
    },
  },
  seeds: 3,
  faults: [],
  onHistory: ({ lines }) => {
    for (const line of lines) {
      const [, who, what = ''] = /^ *\S+ {2}(\S+) +(.*)$/.exec(line) ?? []
      if (what.startsWith('ends the ') || (who === 'clerk-1' && what.includes(' ms')))
        told.add(`${who}: ${what.replace(/-\d$/, '')}`)
    }
  },
})
await pglite.close()
process.stdout.write(JSON.stringify([...told].toSorted()))
