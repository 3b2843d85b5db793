/** Databases of a run: one for the desk, one for each bank, and the money in them. */
import { randomBytes } from 'node:crypto'
import { pgClient } from 'concordat/core/pg'
import { migrateParticipant } from 'concordat/saga'
import { undo } from 'concordat/saga/undo'
import pg from 'pg'
import type { PrivateServer } from '../../test/support/servers/private-server.ts'
import { startServer } from '../../test/support/servers/start.ts'
import { TABLES as BANK_TABLES } from './bank.ts'
import { TABLES as DESK_TABLES } from './desk.ts'
import { type Kind, UsageError } from './options.ts'
import type { Plan } from './plan.ts'

export type DatabaseName = 'desk' | 'north' | 'south'
const NAMES = ['desk', 'north', 'south'] as const

export interface Left {
  /** Prepared transactions that have neither committed nor rolled back. */
  readonly prepared: number
  /** Rows that undo still locks for undecided transfers. */
  readonly rowLocks: number
  /** Sagas that have not ended. */
  readonly open: number
}

export class Databases implements AsyncDisposable {
  readonly #server: PrivateServer | undefined
  readonly #admin: pg.Client
  readonly #urls: Readonly<Record<DatabaseName, string>>
  readonly #pools: Readonly<Record<DatabaseName, pg.Pool>>

  private constructor(
    server: PrivateServer | undefined,
    admin: pg.Client,
    urls: Readonly<Record<DatabaseName, string>>,
  ) {
    this.#server = server
    this.#admin = admin
    this.#urls = urls
    const poolOf = (name: DatabaseName): pg.Pool => new pg.Pool({ connectionString: urls[name], max: 2 })
    this.#pools = { desk: poolOf('desk'), north: poolOf('north'), south: poolOf('south') }
  }

  /** @throws UsageError when no private server can be started, or the given one cannot be used */
  static async open(postgres: string | undefined): Promise<Databases> {
    const server = postgres === undefined ? await privateServer() : undefined
    const url = postgres ?? server?.url ?? ''
    const admin = new pg.Client({ connectionString: url })
    const run = randomBytes(4).toString('hex')
    const urlOf = (name: DatabaseName): string => {
      const own = new URL(url)
      own.pathname = `/transfer_${run}_${name}`
      return own.href
    }
    try {
      await admin.connect()
      for (const name of NAMES) await admin.query(`CREATE DATABASE transfer_${run}_${name}`)
      return new Databases(server, admin, { desk: urlOf('desk'), north: urlOf('north'), south: urlOf('south') })
    } catch (error) {
      await admin.end().catch(() => {})
      await server?.stop()
      const said = error instanceof Error ? error.message : String(error)
      const [what, remedy] =
        postgres === undefined ? ['the private PostgreSQL', 'pass --postgres'] : ['--postgres', 'pass']
      throw new UsageError(
        `${what} cannot be used (${said}): ${remedy} the URL of a server on which you may create databases`,
      )
    }
  }

  url(name: DatabaseName): string {
    return this.#urls[name]
  }

  async fill({ transfers, north, south }: Plan, kind: Kind): Promise<void> {
    const { desk } = this.#pools
    await desk.query(DESK_TABLES)
    await desk.query(
      `INSERT INTO transfer (n, source, target, cents)
       SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::int[])`,
      [
        transfers.map((_, n) => n),
        transfers.map(({ from }) => from),
        transfers.map(({ to }) => to),
        transfers.map(({ cents }) => cents),
      ],
    )
    for (const [name, accounts] of [
      ['north', north],
      ['south', south],
    ] as const) {
      await this.#pools[name].query(BANK_TABLES)
      await this.#pools[name].query(
        'INSERT INTO account SELECT id, cents, cents, closed FROM unnest($1::text[], $2::int[], $3::boolean[]) AS a(id, cents, closed)',
        [accounts.map(({ id }) => id), accounts.map(({ cents }) => cents), accounts.map(({ closed }) => closed)],
      )
      if (kind === 'undo') await protect(this.#pools[name])
    }
  }

  /** Counts the transfers by outcome. */
  async outcomes(): Promise<{ readonly completed: number; readonly refused: number; readonly stuck: number }> {
    const { rows } = await this.#pools.desk.query<{ outcome: string; n: number }>(
      'SELECT outcome, count(*)::int AS n FROM transfer WHERE outcome IS NOT NULL GROUP BY 1',
    )
    const count = (outcome: string): number => rows.find((row) => row.outcome === outcome)?.n ?? 0
    return { completed: count('completed'), refused: count('refused'), stuck: count('stuck') }
  }

  /** Sums all money and the part held for unfinished transfers, and counts the overdrawn accounts. */
  async money(): Promise<{ readonly cents: number; readonly held: number; readonly overdrawn: number }> {
    const found = await Promise.all(
      (['north', 'south'] as const).map((name) =>
        this.#pools[name].query<{ cents: number; held: number; overdrawn: number }>(
          `SELECT sum(balance)::int AS cents, sum(balance - free)::int AS held,
             count(*) FILTER (WHERE balance < 0 OR free < 0)::int AS overdrawn FROM account`,
        ),
      ),
    )
    const sum = (pick: (row: { cents: number; held: number; overdrawn: number }) => number): number =>
      found.reduce((total, { rows }) => total + (rows[0] === undefined ? 0 : pick(rows[0])), 0)
    return { cents: sum((row) => row.cents), held: sum((row) => row.held), overdrawn: sum((row) => row.overdrawn) }
  }

  async left(): Promise<Left> {
    const open = await this.#pools.desk.query<{ n: number }>(
      'SELECT count(*)::int AS n FROM concordat.saga WHERE ended_at IS NULL',
    )
    const prepared = await this.#admin.query<{ n: number }>(
      'SELECT count(*)::int AS n FROM pg_prepared_xacts WHERE database = ANY($1)',
      [NAMES.map((name) => new URL(this.#urls[name]).pathname.slice(1))],
    )
    return { prepared: prepared.rows[0]?.n ?? 0, rowLocks: await this.#rowLocks(), open: open.rows[0]?.n ?? 0 }
  }

  async #rowLocks(): Promise<number> {
    const counts = (['north', 'south'] as const).map(async (name) => {
      const { rows } = await this.#pools[name].query<{ n: number }>(
        'SELECT count(*)::int AS n FROM concordat.saga_undo_lock',
      )
      return rows[0]?.n ?? 0
    })
    return (await Promise.all(counts)).reduce((sum, n) => sum + n, 0)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(Object.values(this.#pools).map((pool) => pool.end()))
    if (this.#server === undefined) {
      for (const name of NAMES) {
        const database = new URL(this.#urls[name]).pathname.slice(1)
        await this.#admin.query(`DROP DATABASE IF EXISTS ${database} WITH (FORCE)`)
      }
    }
    await this.#admin.end()
    await this.#server?.stop()
  }
}

/** Prepares a bank's database for undo before the bank starts, as a migration would. */
async function protect(pool: pg.Pool): Promise<void> {
  const sql = pgClient(pool)
  await migrateParticipant(sql)
  await undo.protect(sql, ['account'])
}

async function privateServer(): Promise<PrivateServer> {
  process.stderr.write('starting a private PostgreSQL\n')
  try {
    return await startServer('postgres')
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error)
    throw new UsageError(`cannot start a private PostgreSQL (${said}): pass --postgres URL`)
  }
}
