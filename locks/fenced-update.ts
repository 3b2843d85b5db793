import { requireInteger, requireText } from '../core/errors.ts'
import { optionNames, refuseUnknown } from '../core/option-checks.ts'
import { quoteIdentifier, refusePrepared, type SqlExecutor } from '../core/sql.ts'
import { LockError } from './errors.ts'

/** An UPDATE of rows that store the highest token that wrote them in a separate column (`ADD COLUMN fence bigint`). */
export interface FencedUpdate {
  /** `stock`, or `shop.stock`. */
  readonly table: string
  /** SQL after SET, without the guard column: `left_over = left_over - $2`. */
  readonly set: string
  /** SQL after WHERE: `sku = $1`. */
  readonly where: string
  /** For `$1` and so on in `set` and `where`. @default none */
  readonly values?: readonly unknown[] | undefined
  readonly token: number
  /** Name of the guard column, a bigint; NULL until the first write with a token. @default 'fence' */
  readonly column?: string | undefined
}

const NAMES = optionNames<FencedUpdate>({
  table: true,
  set: true,
  where: true,
  values: true,
  token: true,
  column: true,
})

/**
 * A fence as a guard column: one statement checks the token of every row that `where` finds and writes all of them, or none. It
 * needs no transaction and no other table; use `createFence` for effects that are not an UPDATE of existing rows.
 *
 *     await fencedUpdate(sql, { table: 'stock', set: 'left_over = $2', where: 'sku = $1', values: [sku, 7], token })
 *
 * @returns number of written rows; 0: no such row exists (a refused write is an error, never 0)
 * @throws `locks.fence_rejected` when one of the rows has seen a newer token; `core.sql_cannot_prepare` in an XA handler;
 * TypeError / RangeError naming the invalid argument; the driver's error
 */
export async function fencedUpdate(sql: SqlExecutor, update: FencedUpdate): Promise<number> {
  const path = 'fencedUpdate'
  refuseUnknown(path, update, NAMES)
  const name = requireText(`${path}.table`, update.table)
  const table = name.split('.').map(quoteIdentifier).join('.')
  const column = quoteIdentifier(requireText(`${path}.column`, update.column ?? 'fence'))
  const [set, where] = [requireText(`${path}.set`, update.set), requireText(`${path}.where`, update.where)]
  const token = requireInteger(`${path}.token`, update.token, 0)
  await refusePrepared(`${path} of ${name}`, sql)
  const values = update.values ?? []
  const mine = `$${values.length + 1}::bigint`
  // The guard first and a new line after the given texts: neither may end in a comment that hides the rest.
  const { rows } = await sql.query<{ written: string; newest: string | null }>(
    `WITH guarded AS (SELECT ${column} AS last FROM ${table} WHERE (${where}
) FOR UPDATE),
     written AS (
       UPDATE ${table} SET ${column} = ${mine}, ${set}
       WHERE (${where}
) AND NOT EXISTS (SELECT 1 FROM guarded WHERE last > ${mine}) RETURNING 1
     )
     SELECT (SELECT count(*) FROM written)::text AS written, (SELECT max(last) FROM guarded)::text AS newest`,
    [...values, String(token)],
  )
  const newest = Number(rows[0]?.newest ?? 0)
  if (newest > token) throw new LockError('locks.fence_rejected', { resource: name, token, lastToken: newest })
  return Number(rows[0]?.written)
}
