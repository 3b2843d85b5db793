/** A shop writes orders with an outbox, a few keys get most of them, and a ledger applies each once and in order with an inbox. */

import type { SimulatedInstance, SimulatedWorld } from '@concordat/simulator'
import { createBinder, defineChannel, type SinkBinding, sink } from 'concordat/binder'
import type { SqlClient, SqlTransaction } from 'concordat/core'
import type { Transport } from 'concordat/extension'
import { createInbox, createOutbox, createRelay, type Outbox } from 'concordat/outbox'
import { z } from 'zod'
import { persist } from '../persist.ts'
import { confirmsFirst, forgetsKeys, ignoresFailures, settlesFirst } from '../planted.ts'
import { databaseOf, type Setting, type Workload } from '../workload.ts'

const Line = z.object({ account: z.string(), n: z.number().int(), cents: z.number().int() })
type Line = z.infer<typeof Line>
const lines = defineChannel('lines', {
  payload: Line,
  key: ({ account }) => account,
  groups: ['ledger'],
  partitions: 2,
})

const LEASE_MS = 2_000
const POLL_MS = 500
const OWN_LINES = 6
/** Instances of a service. */
const SHOPS = 2
const OWN_PAUSE_MS = 200
const KEYS = ['hot', 'hot', 'hot', 'warm', 'cold'] as const
const RETRY = { maxAttempts: 1_000, backoff: { initialMs: 50, maxMs: 1_000 } }

const BROKEN_SHOPS: Readonly<Record<string, (transport: Transport) => Transport>> = {
  'confirms-first': confirmsFirst,
  'ignores-failures': ignoresFailures,
}
const BROKEN_LEDGERS: Readonly<Record<string, (transport: Transport) => Transport>> = {
  'settles-first': settlesFirst,
  'forgets-keys': forgetsKeys,
}
const withMistake = (
  mistakes: Readonly<Record<string, (transport: Transport) => Transport>>,
  name: string | undefined,
  transport: Transport,
): Transport => mistakes[name ?? '']?.(transport) ?? transport

async function startShop(
  { transport, logger, ...instance }: SimulatedInstance,
  broken: string | undefined,
): Promise<void> {
  const sql = instance.sql('shop')
  const outbox = createOutbox({ sql, service: 'shop', partitions: 2 })
  const binder = createBinder({
    service: 'shop',
    transport: withMistake(BROKEN_SHOPS, broken, transport),
    logger,
    sends: [lines],
  })
  await binder.start()
  await createRelay({ outbox, publisher: binder, leaseMs: LEASE_MS, idlePollMs: POLL_MS, logger }).start()
  void sellOwn(sql, outbox, instance.name, broken)
}

async function startLedger(
  { transport, logger, ...instance }: SimulatedInstance,
  broken: string | undefined,
): Promise<void> {
  const sql = instance.sql('ledger')
  const bindings = [ledgerOn(sql, broken)]
  const binder = createBinder({
    service: 'ledger',
    transport: withMistake(BROKEN_LEDGERS, broken, transport),
    logger,
    bindings,
  })
  await binder.start()
}

function ledgerOn(sql: SqlClient, broken: string | undefined): SinkBinding {
  const options = { group: 'ledger', concurrency: 4, ...RETRY }
  const apply = async (tx: SqlTransaction, { account, n, cents }: Line): Promise<void> => {
    await tx.query('INSERT INTO applied (account, n) VALUES ($1, $2)', [account, n])
    await tx.query('UPDATE balance SET cents = cents + $2 WHERE account = $1', [account, cents])
  }
  if (broken === 'no-inbox') return sink(lines, options, (line) => sql.transaction((tx) => apply(tx, line)))
  if (broken === 'remembers-first') {
    return sink(lines, options, async (line, { id }) => {
      if (await isNew(sql, id)) await sql.transaction((tx) => apply(tx, line))
    })
  }
  const inbox = createInbox({ sql })
  return sink(lines, { ...options, inbox }, (line, { tx }) => apply(tx, line))
}

async function isNew(sql: SqlClient, id: string): Promise<boolean> {
  const { rowCount } = await sql.query('INSERT INTO seen (id) VALUES ($1) ON CONFLICT DO NOTHING', [id])
  return rowCount === 1
}

/** Sells a shop's own lines: each once, whenever the shop dies. */
async function sellOwn(sql: SqlClient, outbox: Outbox, account: string, broken: string | undefined): Promise<void> {
  for (;;) {
    await new Promise((resolve) => void setTimeout(resolve, OWN_PAUSE_MS))
    try {
      const { rows } = await sql.query<{ n: number }>('SELECT count(*)::int AS n FROM line WHERE account = $1', [
        account,
      ])
      const n = (rows[0]?.n ?? 0) + 1
      if (n > OWN_LINES) return
      await place(sql, outbox, { account, n, cents: n }, broken)
    } catch {
      // The database is down, or was when it answered: the stored rows show the progress.
    }
  }
}

async function sell(world: SimulatedWorld, broken: string | undefined): Promise<void> {
  const sql = world.client.sql('shop')
  const outbox = createOutbox({ sql, service: 'shop', partitions: 2 })
  const counts = new Map<string, number>()
  for (let order = 0; order < world.size * 3; order++) {
    const account = KEYS[world.between(0, KEYS.length - 1)] ?? 'hot'
    const n = (counts.get(account) ?? 0) + 1
    counts.set(account, n)
    const line = { account, n, cents: world.between(1, 100) }
    await persist(world, () => place(sql, outbox, line, broken))
    await world.sleep(world.between(0, 200))
  }
  await world.sleep(world.between(0, 4_000))
}

/** Once, however often a client asks: the order's row is the memory of it. */
async function place(sql: SqlClient, outbox: Outbox, line: Line, broken: string | undefined): Promise<void> {
  const isNewLine = await sql.transaction(async (tx) => {
    const text = 'INSERT INTO line (account, n, cents) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING'
    const { rowCount } = await tx.query(text, [line.account, line.n, line.cents])
    if (rowCount === 1 && broken !== 'own-transaction') await outbox.add(tx, lines, line)
    return rowCount === 1
  })
  if (isNewLine && broken === 'own-transaction') await sql.transaction((tx) => outbox.add(tx, lines, line))
}

async function isSettled({ client }: SimulatedWorld): Promise<boolean> {
  const { rows } = await client
    .sql('shop')
    .query<{ left: number }>('SELECT count(*)::int AS left FROM concordat.outbox')
  const sold = await client
    .sql('shop')
    .query<{ n: number; own: number }>(
      "SELECT count(*)::int AS n, (count(*) FILTER (WHERE account LIKE 'shop-%'))::int AS own FROM line",
    )
  const applied = await client.sql('ledger').query<{ n: number }>('SELECT count(*)::int AS n FROM applied')
  // Until then a frozen shop may continue to sell.
  const isSold = sold.rows[0]?.own === SHOPS * OWN_LINES
  return isSold && rows[0]?.left === 0 && (applied.rows[0]?.n ?? 0) >= (sold.rows[0]?.n ?? 0)
}

async function requireBalances({ client }: SimulatedWorld): Promise<void> {
  const sold = await client
    .sql('shop')
    .query<{ account: string; cents: number }>(
      'SELECT account, sum(cents)::int AS cents FROM line GROUP BY 1 ORDER BY 1',
    )
  const { rows } = await client
    .sql('ledger')
    .query<{ account: string; cents: number }>('SELECT account, cents FROM balance')
  for (const { account, cents } of sold.rows) {
    const found = rows.find((row) => row.account === account)?.cents
    if (found !== cents) throw new Error(`"${account}" has ${found} cents, and ${cents} were sold`)
  }
}

async function requireOrder({ client }: SimulatedWorld): Promise<void> {
  const { rows } = await client
    .sql('ledger')
    .query<{ account: string; n: number }>('SELECT account, n FROM applied ORDER BY seq')
  const last = new Map<string, number>()
  for (const { account, n } of rows) {
    const before = last.get(account) ?? 0
    if (n !== before + 1) throw new Error(`of "${account}" ${n} came after ${before}`)
    last.set(account, n)
  }
}

async function prepareShop(sql: SqlClient): Promise<void> {
  await createOutbox({ sql, service: 'shop', partitions: 2 }).migrate()
  await sql.query('CREATE TABLE IF NOT EXISTS line (account text, n int, cents int NOT NULL, PRIMARY KEY (account, n))')
}

async function prepareLedger(sql: SqlClient): Promise<void> {
  await createInbox({ sql }).migrate()
  await sql.query(
    'CREATE TABLE IF NOT EXISTS applied (seq bigserial PRIMARY KEY, account text NOT NULL, n int NOT NULL)',
  )
  await sql.query('CREATE TABLE IF NOT EXISTS seen (id text PRIMARY KEY)')
  await sql.query('CREATE TABLE IF NOT EXISTS balance (account text PRIMARY KEY, cents int NOT NULL)')
  const text =
    'INSERT INTO balance SELECT DISTINCT account, 0 FROM unnest($1::text[]) AS account ON CONFLICT DO NOTHING'
  await sql.query(text, [[...KEYS, 'shop-1', 'shop-2']])
}

export const outbox: Workload = {
  about: 'an outbox with hot keys, an inbox behind it: each line once, in the order of its account',
  mistakes: {
    'no-inbox': 'the handler keeps no memory of what it has handled',
    'remembers-first': 'that a line was seen is written in a transaction before that of its effect',
    'settles-first': 'a delivery is acknowledged before it is handled',
    'forgets-keys': 'lines of one account are handled beside each other',
    'confirms-first': 'a message counts as published before the broker has it',
    'ignores-failures': 'what the broker did not take counts as published',
    'own-transaction': 'the outbox is written in a transaction of its own',
  },
  databases: ['shop', 'ledger'],
  size: 3,
  options: (setting: Setting) => ({
    services: {
      shop: { start: (instance) => startShop(instance, setting.broken) },
      ledger: { start: (instance) => startLedger(instance, setting.broken) },
    },
    databases: {
      shop: { ...databaseOf(setting, 'shop'), prepare: prepareShop },
      ledger: { ...databaseOf(setting, 'ledger'), prepare: prepareLedger },
    },
    workload: (world) => sell(world, setting.broken),
    settled: isSettled,
    invariants: { 'each line once': requireBalances, 'in order': requireOrder },
  }),
}
