/**
 * PostgreSQL as the broker: shops write each line to the log in its own transaction, and a note of it through an
 * outbox. A ledger settles lines in the transactions of their effects and notes with an inbox, an auditor is slow and
 * keeps nothing, and a group without readers is forgotten. During that the segments of the log rotate.
 */

import type { SimulatedInstance, SimulatedWorld } from '@concordat/simulator'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import type { SqlClient, SqlTransaction } from 'concordat/core'
import { createInbox, createOutbox, createRelay, type Outbox } from 'concordat/outbox'
import { type PostgresTransport, postgresTransport } from 'concordat/postgres'
import { z } from 'zod'
import type { PostgresTransportOptions } from '../../support/inside/binder.ts'
import { persist } from '../persist.ts'
import { createWithout, override, rewritten } from '../planted.ts'
import { databaseOf, type Setting, type Workload } from '../workload.ts'

const Line = z.object({ account: z.string(), n: z.number().int() })
type Line = z.infer<typeof Line>
const key = ({ account }: Line): string => account
const GROUPS = ['ledger', 'audit']
const linesOf = (groups: readonly string[]) =>
  defineChannel('lines', { payload: Line, key, groups, partitions: 2, transactional: true })
const lines = linesOf(GROUPS)
const notes = defineChannel('notes', { payload: Line, key, groups: ['ledger'], partitions: 1 })
/** A group of lines that no service knows any longer. */
const FORGOTTEN = 'old'

const LEASE_MS = 2_000
const POLL_MS = 500
const SLOW_MS = 250
const SHOPS = 2
const OWN_LINES = 4
const OWN_PAUSE_MS = 300
const KEYS = ['hot', 'hot', 'hot', 'cold'] as const
const RETRY = { maxAttempts: 1_000, backoff: { initialMs: 50, maxMs: 1_000 } }
const REFUSED = 0.05
/** Time in which every segment is freed that all groups have settled. */
const FREED_WITHIN_MS = 60_000

type Options = Omit<PostgresTransportOptions, 'sql'>

const TIMES = { leaseMs: LEASE_MS, rebalanceTimeoutMs: LEASE_MS, requestTimeoutMs: 5_000, notifyEveryMs: 0 }
/** Options of one service alone: each service with them looks for segments. */
const ROTATES = { segmentMs: 2_000, retentionMs: 500 }

const logOn = (sql: SqlClient, options: Options = {}): PostgresTransport =>
  postgresTransport({ sql, ...TIMES, ...options })
const relayedOn = (sql: SqlClient): Outbox => createOutbox({ sql, service: 'shop', schema: 'shop', partitions: 1 })

async function startShop(instance: SimulatedInstance): Promise<void> {
  const { logger, name } = instance
  const sql = instance.sql('shop')
  const transport = logOn(sql)
  const binder = createBinder({ service: 'shop', transport, logger, sends: [lines, notes] })
  await binder.start()
  const relayed = relayedOn(sql)
  await createRelay({ outbox: relayed, publisher: binder, leaseMs: LEASE_MS, idlePollMs: POLL_MS, logger }).start()
  void sellOwn(sql, boxesOn(sql, transport), name)
}

/** Ways in which lines leave: with the transaction, and by a relay. */
interface Boxes {
  readonly direct: Outbox
  readonly relayed: Outbox
}

const boxesOn = (sql: SqlClient, transport: PostgresTransport): Boxes => ({
  direct: createOutbox({ sql, service: 'shop', transport }),
  relayed: relayedOn(sql),
})

/** Places a line once for any number of calls: the line's row is the memory of it. */
async function place(sql: SqlClient, { direct, relayed }: Boxes, line: Line): Promise<void> {
  await sql.transaction(async (tx) => {
    const text = 'INSERT INTO line (account, n) VALUES ($1, $2) ON CONFLICT DO NOTHING'
    const { rowCount } = await tx.query(text, [line.account, line.n])
    if (rowCount === 0) return
    await direct.add(tx, lines, line)
    await relayed.add(tx, notes, line)
  })
}

async function sellOwn(sql: SqlClient, boxes: Boxes, account: string): Promise<void> {
  for (;;) {
    await sleep(OWN_PAUSE_MS)
    try {
      const text = 'SELECT count(*)::int AS n FROM line WHERE account = $1'
      const { rows } = await sql.query<{ n: number }>(text, [account])
      const n = (rows[0]?.n ?? 0) + 1
      if (n > OWN_LINES) return
      await place(sql, boxes, { account, n })
    } catch {
      // The database is down, or was when it answered: the stored rows show the progress.
    }
  }
}

async function startLedger(instance: SimulatedInstance, broken: string | undefined): Promise<void> {
  const { logger } = instance
  const sql = clientOf(instance, broken)
  const transport = broken === 'settles-apart' ? settlesApart(logOn(sql)) : logOn(sql)
  const options = { group: 'ledger', concurrency: 4, ...RETRY }
  const bindings = [
    sink(lines, { ...options, settlesIn: sql }, (line, { tx }) => apply(tx, 'lines', line)),
    sink(notes, { ...options, inbox: createInbox({ sql }) }, (line, { tx }) => apply(tx, 'notes', line)),
  ]
  await createBinder({ service: 'ledger', transport, logger, bindings }).start()
}

async function apply(tx: SqlTransaction, channel: string, { account, n }: Line): Promise<void> {
  await sleep(20)
  await tx.query('INSERT INTO applied (channel, account, n) VALUES ($1, $2, $3)', [channel, account, n])
  if (Math.random() < REFUSED) throw new Error('not now')
}

/** Starts an auditor that keeps no memory of seen lines, and whose position is written later. */
async function startAudit(instance: SimulatedInstance, broken: string | undefined): Promise<void> {
  const { logger } = instance
  const sql = clientOf(instance, broken)
  const transport = logOn(sql, ROTATES)
  const see = sink(lines, { group: 'audit', prefetch: 4, ...RETRY }, async ({ account, n }) => {
    await sleep(SLOW_MS)
    await sql.query('INSERT INTO seen (account, n) VALUES ($1, $2) ON CONFLICT DO NOTHING', [account, n])
  })
  await createBinder({ service: 'audit', transport, logger, bindings: [see] }).start()
}

const sleep = (durationMs: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, durationMs))

/** Customers, and an operator who forgets a group. */
async function sell(world: SimulatedWorld): Promise<void> {
  const sql = world.client.sql('shop')
  const transport = logOn(sql, { provision: 'none' })
  const { logger } = world.client
  await persist(world, () => createBinder({ service: 'customer', transport, logger, sends: [lines] }).start())
  const boxes = boxesOn(sql, transport)
  const counts = new Map<string, number>()
  const orders = world.size * 3
  const forgetsAt = world.between(0, orders - 1)
  for (let order = 0; order < orders; order++) {
    const account = KEYS[world.between(0, KEYS.length - 1)] ?? 'hot'
    const n = (counts.get(account) ?? 0) + 1
    counts.set(account, n)
    await persist(world, () => place(sql, boxes, { account, n }))
    if (order === forgetsAt) await persist(world, () => transport.forgetGroup(lines.name, FORGOTTEN))
    await world.sleep(world.between(0, 400))
  }
  await world.sleep(world.between(0, 4_000))
}

const count = async ({ client }: SimulatedWorld, text: string): Promise<number> => {
  const { rows } = await client.sql('shop').query<{ n: number }>(text)
  return rows[0]?.n ?? 0
}

async function isSettled(world: SimulatedWorld): Promise<boolean> {
  const own = await count(world, "SELECT count(*)::int AS n FROM line WHERE account LIKE 'shop-%'")
  if (own < SHOPS * OWN_LINES) return false
  const left = `SELECT (SELECT count(*) FROM shop.outbox)::int + (SELECT count(*) FROM line l CROSS JOIN unnest(ARRAY['lines', 'notes']) AS c(channel)
    WHERE NOT EXISTS (SELECT FROM applied a WHERE a.channel = c.channel AND a.account = l.account AND a.n = l.n))::int
    + (SELECT count(*) FROM line l WHERE NOT EXISTS (SELECT FROM seen s WHERE s.account = l.account AND s.n = l.n))::int AS n`
  return (await count(world, left)) === 0
}

/** Neither one too many nor one too early. */
async function requireOnceInOrder({ client }: SimulatedWorld): Promise<void> {
  for (const channel of ['lines', 'notes', 'seen']) {
    const text =
      channel === 'seen'
        ? 'SELECT account, n FROM seen ORDER BY seq'
        : `SELECT account, n FROM applied WHERE channel = '${channel}' ORDER BY seq`
    const { rows } = await client.sql('shop').query<Line>(text)
    const last = new Map<string, number>()
    for (const { account, n } of rows) {
      const before = last.get(account) ?? 0
      if (n !== before + 1) throw new Error(`${channel}: of "${account}" ${n} came after ${before}`)
      last.set(account, n)
    }
  }
}

/** The newest positions of a partition stay, with their messages: so the youngest segments always hold some. */
async function requireFreed(world: SimulatedWorld): Promise<void> {
  const text =
    "SELECT count(*)::int AS n FROM concordat.transport_segment WHERE closed_at < clock_timestamp() - interval '10 s'"
  const untilMs = world.elapsedMs + FREED_WITHIN_MS
  for (let n = await count(world, text); n > 0; n = await count(world, text)) {
    if (world.elapsedMs > untilMs) throw new Error(`${n} segments are not freed`)
    await world.sleep(1_000)
  }
}

async function prepare(sql: SqlClient, broken: string | undefined): Promise<void> {
  await relayedOn(sql).migrate()
  await createInbox({ sql }).migrate()
  const transport = logOn(sql)
  const sends = [linesOf([...GROUPS, FORGOTTEN]), notes]
  const binder = createBinder({ service: 'shop', transport, sends })
  await binder.start()
  await binder.close()
  // The world's time begins long before this one.
  await sql.query("UPDATE concordat.transport_ring SET since = '2026-01-01Z'")
  await sql.query('CREATE TABLE IF NOT EXISTS line (account text, n int, PRIMARY KEY (account, n))')
  await sql.query(
    'CREATE TABLE IF NOT EXISTS applied (seq bigserial PRIMARY KEY, channel text NOT NULL, account text NOT NULL, n int NOT NULL)',
  )
  await sql.query(
    'CREATE TABLE IF NOT EXISTS seen (seq bigserial PRIMARY KEY, account text NOT NULL, n int NOT NULL, UNIQUE (account, n))',
  )
  for (const changed of CHANGED[broken ?? ''] ?? []) await createWithout(sql, changed)
}

/** Transport with a mistake: position and effect are written one after the other. */
function settlesApart(transport: PostgresTransport): PostgresTransport {
  return override(transport, {
    settlingIn: (sql) => {
      const settling = transport.settlingIn?.(sql)
      if (settling === undefined) return undefined
      return override(settling, {
        settle: async (tx, deliveries) => {
          tx.afterCommit?.(
            () => void settling.sql.transaction((own) => settling.settle(own, deliveries)).catch(() => {}),
          )
        },
      })
    },
  })
}

const CHANGED: Readonly<Record<string, readonly Parameters<typeof createWithout>[1][]>> = {
  'ack-without-version': [
    {
      name: 'concordat.transport_fetch',
      as: 'transport_fetch_without_version',
      part: `SELECT g, p, v + 1, e, p_owner, p_settled, greatest(up_to, b.handed), p_done FROM "concordat".transport_progress b
      WHERE b.grp = g AND b.part = p AND b.ver = v AND b.epoch = e AND b.owner = p_owner`,
      put: `SELECT g, p, b.ver + 1, e, p_owner, p_settled, greatest(up_to, b.handed), p_done FROM "concordat".transport_progress b
      WHERE b.grp = g AND b.part = p AND b.ver = (SELECT max(x.ver) FROM "concordat".transport_progress x WHERE x.grp = g AND x.part = p)`,
    },
  ],
  'frees-unread': [
    {
      name: 'concordat.transport_clear',
      as: 'transport_clear_unread',
      part: 'min(l.settled)',
      put: 'max(l.settled)',
    },
  ],
}

const REWRITTEN: Readonly<Record<string, (text: string) => string>> = {
  'ack-without-version': (text) => text.replace('.transport_fetch(', '.transport_fetch_without_version('),
  'frees-unread': (text) =>
    text.replaceAll('min(l.settled)', 'max(l.settled)').replace('.transport_clear(', '.transport_clear_unread('),
}

function clientOf(instance: SimulatedInstance, broken: string | undefined): SqlClient {
  const sql = instance.sql('shop')
  const rewrite = REWRITTEN[broken ?? '']
  return rewrite === undefined ? sql : rewritten(sql, rewrite)
}

export const log: Workload = {
  about:
    'PostgreSQL as the broker, with its own transactions, an outbox, an inbox and a slow group, while segments go round',
  mistakes: {
    'settles-apart': 'the effect of a message and its place are written in two transactions',
    'ack-without-version': 'a place is written whoever has it by now, whatever version it has',
    'frees-unread': 'a segment is freed as soon as one group has read it',
  },
  databases: ['shop'],
  size: 3,
  options: (setting: Setting) => ({
    services: {
      shop: { instances: SHOPS, start: startShop },
      ledger: { start: (instance) => startLedger(instance, setting.broken) },
      audit: { instances: 1, start: (instance) => startAudit(instance, setting.broken) },
    },
    databases: { shop: { ...databaseOf(setting, 'shop'), prepare: (sql) => prepare(sql, setting.broken) } },
    workload: sell,
    settled: isSettled,
    invariants: { 'once and in order': requireOnceInOrder, 'what is read is freed': requireFreed },
  }),
}
