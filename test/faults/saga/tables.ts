import type { Effect } from './bank.ts'
import type { Company } from './company.ts'

export interface SagaLine {
  readonly id: string
  readonly status: string
  readonly tookMs: number
}

export interface TimelineLine {
  readonly id: string
  readonly kind: string
  readonly step: string | null
}

export interface Account {
  readonly id: string
  readonly balance: number
  readonly reserved: number
}

/** Rows that a run left in its two databases. */
export interface Tables {
  readonly sagas: readonly SagaLine[]
  /** Timeline, in order. */
  readonly timeline: readonly TimelineLine[]
  readonly effects: readonly Effect[]
  readonly accounts: readonly Account[]
}

export async function readTables({ here, there }: Pick<Company, 'here' | 'there'>): Promise<Tables> {
  const effect = 'SELECT key, operation, worker FROM effect ORDER BY number'
  const account = 'SELECT id, balance::int AS balance, reserved::int AS reserved FROM account ORDER BY id'
  const { rows: sagas } = await here.query<SagaLine>(
    `SELECT id, status, (extract(epoch FROM updated_at - created_at) * 1000)::float8 AS "tookMs"
     FROM concordat.saga ORDER BY created_at`,
  )
  const { rows: timeline } = await here.query<TimelineLine>(
    'SELECT id, kind, step FROM concordat.saga_event ORDER BY seq',
  )
  const both = [here, there]
  const effects = await Promise.all(both.map((sql) => sql.query<Effect>(effect)))
  const accounts = await Promise.all(both.map((sql) => sql.query<Account>(account)))
  return {
    sagas,
    timeline,
    effects: effects.flatMap(({ rows }) => rows),
    accounts: accounts.flatMap(({ rows }) => rows),
  }
}
