import pg from 'pg'
import type { SuiteOptions } from '../main.ts'
import type { PostgresBed } from '../postgres-bed.ts'
import { number } from '../table.ts'
import { runExample, type Setting } from './run.ts'

/** The server keeps count of its statements: about 1 % of its CPU. */
export const COUNTED = {
  shared_preload_libraries: 'pg_stat_statements',
  'pg_stat_statements.track_utility': 'on',
  'pg_stat_statements.max': '10000',
}

/** Orders of a run that is counted. */
const COUNTED_ORDERS = 1_000
const SHOWN = 40

interface Counted {
  readonly text: string
  readonly calls: number
  readonly rows: number
  readonly ms: number
  readonly walBytes: number
}

interface Counts {
  readonly statements: readonly Counted[]
  readonly commits: number
  readonly walBytes: number
}

/**
 * Counts the statements that an order costs PostgreSQL: per service, in total, and the most frequent ones. Start-up is
 * not counted.
 */
export async function countStatements(
  transport: string,
  setting: Setting,
  bed: PostgresBed,
  { progress, report }: SuiteOptions,
): Promise<void> {
  const database = new pg.Client({ connectionString: await bed.database('counting') })
  await database.connect()
  try {
    await database.query('CREATE EXTENSION pg_stat_statements')
    progress(`example, ${transport}, statements`)
    const few = await counted(setting, bed, database, 100)
    const many = await counted(setting, bed, database, COUNTED_ORDERS + 100)
    const perOrder = less(many, few)
    report({ title: `example on ${transport}: PostgreSQL per order, by service`, ...byHop(perOrder) })
    report({ title: `example on ${transport}: the most frequent statements per order`, ...mostFrequent(perOrder) })
  } finally {
    await database.end()
  }
}

async function counted(setting: Setting, bed: PostgresBed, database: pg.Client, orders: number): Promise<Counts> {
  await database.query('SELECT pg_stat_statements_reset()')
  const before = await bed.counters('example')
  await runExample(setting, orders)
  const after = await bed.counters('example')
  const { rows } = await database.query<Counted>(
    `SELECT s.query AS text, s.calls::float8 AS calls, s.rows::float8 AS rows, s.total_exec_time AS ms, s.wal_bytes::float8 AS "walBytes"
     FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = 'example' AND s.toplevel`,
  )
  return {
    statements: grouped(rows),
    commits: after.commits - before.commits,
    walBytes: after.walBytes - before.walBytes,
  }
}

/** Removes the run's name from schemas, and unifies spacing. */
function grouped(statements: readonly Counted[]): readonly Counted[] {
  const groups = new Map<string, Counted>()
  for (const one of statements) {
    const text = one.text
      .replaceAll(/order_payment_[a-z0-9]+_/g, '')
      .replaceAll(/\s+/g, ' ')
      .trim()
    const sum = groups.get(text) ?? { text, calls: 0, rows: 0, ms: 0, walBytes: 0 }
    groups.set(text, {
      text,
      calls: sum.calls + one.calls,
      rows: sum.rows + one.rows,
      ms: sum.ms + one.ms,
      walBytes: sum.walBytes + one.walBytes,
    })
  }
  return [...groups.values()]
}

function less(many: Counts, few: Counts): Counts {
  const known = new Map(few.statements.map((one) => [one.text, one]))
  const statements = many.statements.map(({ text, calls, rows, ms, walBytes }) => {
    const off = known.get(text)
    return {
      text,
      calls: (calls - (off?.calls ?? 0)) / COUNTED_ORDERS,
      rows: (rows - (off?.rows ?? 0)) / COUNTED_ORDERS,
      ms: (ms - (off?.ms ?? 0)) / COUNTED_ORDERS,
      walBytes: (walBytes - (off?.walBytes ?? 0)) / COUNTED_ORDERS,
    }
  })
  return {
    statements,
    commits: (many.commits - few.commits) / COUNTED_ORDERS,
    walBytes: (many.walBytes - few.walBytes) / COUNTED_ORDERS,
  }
}

interface Part {
  readonly head: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

function byHop({ statements, commits, walBytes }: Counts): Part {
  const hops = Map.groupBy(statements, ({ text }) => hopOf(text))
  const cells = (of: readonly Counted[]): string[] => {
    const sum = (pick: (one: Counted) => number): string => number(of.reduce((all, one) => all + pick(one), 0))
    return [sum((one) => one.calls), sum((one) => one.rows), sum((one) => one.ms), sum((one) => one.walBytes)]
  }
  const rows = [...hops].map(([hop, of]) => [hop, ...cells(of)]).toSorted((a, b) => Number(b[1]) - Number(a[1]))
  return {
    head: ['hop', 'statements', 'rows', 'ms inside', 'WAL bytes'],
    rows: [...rows, ['all', ...cells(statements)], [`commits ${number(commits)}`, '', '', '', number(walBytes)]],
  }
}

const SERVICES = ['orders', 'stock', 'payments', 'receipts'] as const

/** Names the service of a statement by its schema; log, locks and shared state are in a common one. */
function hopOf(text: string): string {
  if (/^(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|SET)\b/i.test(text)) return 'begin, commit, savepoint'
  const service = SERVICES.find((name) => new RegExp(`\\b${name}"?\\.`).test(text))
  return service ?? (/\w\./.test(text) ? 'log, locks and shared state' : 'other')
}

function mostFrequent({ statements }: Counts): Part {
  const shown = statements.toSorted((a, b) => b.calls - a.calls).slice(0, SHOWN)
  return {
    head: ['statement', 'calls', 'rows', 'ms inside'],
    rows: shown.map(({ text, calls, rows, ms }) => [
      text.replaceAll('|', '/').slice(0, 110),
      number(calls),
      number(rows),
      number(ms),
    ]),
  }
}
