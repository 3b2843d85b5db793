import { type Effect, HOUSES } from './bank.ts'
import { type House, ROLES } from './house.ts'
import type { Role } from './place.ts'

export interface SagaLine {
  readonly saga: string
  readonly id: string
  readonly status: string
  readonly tookMs: number
  /** Number of ends in its timeline. */
  readonly ends: number
  readonly wasCancelled: boolean
}

export interface Account {
  readonly id: string
  readonly balance: number
  readonly free: number
}

/** A stranger's change of an account. */
export interface ForeignMove {
  readonly account: string
  readonly cents: number
}

/** A participant's record of a branch. */
export interface BranchLine {
  readonly key: string
  readonly status: string
  readonly ended: boolean
}

/** Rows that a run left in its databases. */
export interface Tables {
  readonly sagas: readonly SagaLine[]
  readonly effects: readonly Effect[]
  readonly accounts: readonly Account[]
  /** Fees that the desk has kept. */
  readonly fees: number
  readonly foreign: readonly ForeignMove[]
  readonly branches: readonly BranchLine[]
  /** Locks and preparations still held though nothing is in flight, each as a readable line. */
  readonly held: readonly string[]
}

/** The parts of such a name are separated by a character that no part contains. */
const readable = (name: string): string => `replace(${name}, chr(31), ' ')`

interface Held {
  readonly what: string
  readonly roles: readonly Role[]
  readonly text: (schema: Role) => string
}

/** Things that a kind may leave behind on a server: a query for each, which must return no row at the end. */
const HELD: readonly Held[] = [
  {
    what: 'prepared transaction',
    roles: ROLES,
    text: () => `SELECT gid || ' since ' || prepared AS line FROM pg_prepared_xacts`,
  },
  {
    what: 'row lock of undo',
    roles: HOUSES,
    text: (schema) =>
      `SELECT ${readable('owner')} || ': ' || relation::text || ' ' || key AS line FROM ${schema}.saga_undo_lock`,
  },
  {
    what: 'branch of undo',
    roles: HOUSES,
    text: (schema) => `SELECT ${readable('branch')} AS line FROM ${schema}.saga_undo`,
  },
  {
    what: 'image of undo',
    roles: HOUSES,
    text: (schema) =>
      `SELECT ${readable('branch')} || ': ' || relation::text || ' ' || coalesce(new_key, old_key) AS line FROM ${schema}.saga_undo_image`,
  },
]

const SAGAS = `SELECT s.name AS saga, s.id, s.status,
    (extract(epoch FROM s.updated_at - s.created_at) * 1000)::float8 AS "tookMs",
    count(e.kind) FILTER (WHERE e.kind IN ('saga-completed', 'saga-compensated'))::int AS ends,
    count(e.kind) FILTER (WHERE e.kind = 'operator-cancel') > 0 AS "wasCancelled"
  FROM concordat.saga s LEFT JOIN concordat.saga_event e ON e.saga = s.name AND e.id = s.id
  GROUP BY s.name, s.id, s.status, s.updated_at, s.created_at ORDER BY s.created_at`

const branchesIn = (schema: string): string =>
  `SELECT saga_key AS key, status, EXISTS (SELECT FROM ${schema}.saga_barrier e
     WHERE e.saga_key = b.saga_key AND e.birth = b.birth AND e.operation IN ('confirm', 'compensate')) AS ended
   FROM ${schema}.saga_barrier b WHERE operation = 'invoke'`

export async function readTables({ sql, vault }: Pick<House, 'sql' | 'vault'>): Promise<Tables> {
  const all = async <Row extends object>(
    text: string,
    roles: readonly (keyof typeof sql)[] = ROLES,
  ): Promise<Row[]> => {
    const found = await Promise.all(roles.map((role) => sql[role].query<Row>(text)))
    return found.flatMap(({ rows }) => rows)
  }
  const fees = await all<{ n: number }>('SELECT coalesce(sum(cents), 0)::int AS n FROM fee', ['desk'])
  const branches = await Promise.all(HOUSES.map((house) => all<BranchLine>(branchesIn(house), [house])))
  const held = await Promise.all(
    HELD.flatMap(({ what, roles, text }) =>
      roles.map(async (role) =>
        (await all<{ line: string }>(text(role), [role])).map(({ line }) => `${what}: ${line}`),
      ),
    ),
  )
  const prepared = (await vault?.prepared()) ?? []
  return {
    sagas: await all<SagaLine>(SAGAS, ['desk']),
    effects: [
      ...(await all<Effect>('SELECT key, operation, worker FROM effect ORDER BY number')),
      ...((await vault?.effects()) ?? []),
    ],
    accounts: [
      ...(await all<Account>('SELECT id, balance, free FROM account ORDER BY id')),
      ...((await vault?.accounts()) ?? []),
    ],
    fees: fees[0]?.n ?? 0,
    foreign: [
      ...(await all<ForeignMove>('SELECT account, sum(cents)::int AS cents FROM foreign_move GROUP BY 1')),
      ...((await vault?.foreign()) ?? []),
    ],
    branches: branches.flat(),
    held: [...held.flat(), ...prepared.map((gid) => `prepared transaction of the vault: ${gid}`)],
  }
}
