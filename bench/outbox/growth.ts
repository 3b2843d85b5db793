/** The size of the table while a million messages pass through it, with autovacuum as PostgreSQL and the table have it. */
import { setTimeout as sleep } from 'node:timers/promises'
import { createRelay } from 'concordat/outbox'
import type { SuiteOptions } from '../main.ts'
import { number } from '../table.ts'
import { type Bed, CheckingPublisher, makeMessage } from './bed.ts'

const MESSAGES = 1_000_000
const WRITERS = 4
const PER_TRANSACTION = 250
const KEYS_OF_EACH = 2_500
/**
 * Writers wait while more than this number of messages is pending, so that the bench measures growth and not a backlog.
 */
const MAX_PENDING = 10_000
const EVERY = 100_000
/** The first visit of autovacuum after the last message (it comes once a minute). */
const AFTERWARDS_MS = 65_000

interface Size {
  readonly tableMb: number
  readonly indexMb: number
  readonly deadRows: number
  readonly vacuums: number
}

const HEAD = ['messages', 'after s', 'messages/s', 'pending', 'table MB', 'indexes MB', 'dead rows', 'vacuums'] as const

export async function measureGrowth(bed: Bed, options: SuiteOptions): Promise<void> {
  options.progress(`${MESSAGES} messages through a running relay`)
  await bed.empty()
  await bed.pool.query(`SELECT pg_stat_reset_single_table_counters($1::regclass)`, [bed.table])
  const publisher = new CheckingPublisher(MESSAGES)
  const rows: string[][] = []
  const startedAt = performance.now()
  let written = 0
  const line = async (): Promise<void> => {
    const seconds = (performance.now() - startedAt) / 1_000
    const { published } = publisher
    const { tableMb, indexMb, deadRows, vacuums } = await sizeOf(bed)
    const passed = published.toLocaleString('en')
    const pending = number(written - published)
    const sizes = [tableMb, indexMb, deadRows].map(number)
    rows.push([passed, number(seconds), number(published / seconds), pending, ...sizes, String(vacuums)])
  }
  {
    await using relay = createRelay({ outbox: bed.outbox, publisher })
    await relay.start()
    const writing = Promise.all(
      Array.from({ length: WRITERS }, (_, n) =>
        write(bed, n, publisher, (count) => (written += count) - publisher.published),
      ),
    )
    for (let at = EVERY; at < MESSAGES; at += EVERY) {
      while (publisher.published < at) await Promise.race([sleep(20), publisher.done])
      await line()
    }
    await Promise.all([writing, publisher.done])
    await line()
    options.progress('waiting for the next visit of autovacuum')
    await sleep(AFTERWARDS_MS)
    await line()
  }
  const title = `outbox: the table while ${MESSAGES.toLocaleString('en')} messages of 200 B pass (last line: a minute later)`
  options.report({ title, head: HEAD, rows })
}

/** Writes with keys of its own, as transactions that share a key would wait for each other. */
async function write(
  bed: Bed,
  writer: number,
  publisher: CheckingPublisher,
  add: (count: number) => number,
): Promise<void> {
  const count = MESSAGES / WRITERS
  let pending = 0
  for (let from = 0; from < count; from += PER_TRANSACTION) {
    while (pending > MAX_PENDING) {
      await Promise.race([sleep(2), publisher.done])
      pending = add(0)
    }
    const messages = Array.from({ length: Math.min(PER_TRANSACTION, count - from) }, (_, i) =>
      makeMessage(from + i, `order-${writer}-${(from + i) % KEYS_OF_EACH}`),
    )
    await bed.sql.transaction((tx) => bed.outbox.addEncoded(tx, messages))
    pending = add(messages.length)
  }
}

async function sizeOf(bed: Bed): Promise<Size> {
  const { rows } = await bed.pool.query<Size>(
    `SELECT pg_table_size($1::regclass) / 1e6::float8 AS "tableMb", pg_indexes_size($1::regclass) / 1e6::float8 AS "indexMb",
       n_dead_tup::float8 AS "deadRows", autovacuum_count::int AS vacuums
     FROM pg_stat_user_tables WHERE relid = $1::regclass`,
    [bed.table],
  )
  return rows[0] ?? { tableMb: Number.NaN, indexMb: Number.NaN, deadRows: Number.NaN, vacuums: 0 }
}
