/** Operators' view of undecided branches, and their actions on those that cannot be undone. */
import { SECOND } from '../../core/clock.ts'
import { ownQuery, quoteIdentifier, type SqlClient, type SqlExecutor, type SqlTransaction } from '../../core/sql.ts'
import { Barrier } from '../participant/barrier.ts'
import { REPLIES } from '../wire/wire.ts'
import { type BranchRow, Images } from './branch-image-store.ts'
import { type UndoDifference, UndoError } from './errors.ts'
import { look, markCancelled, type RestoreParts, restore } from './restore.ts'
import { Relations, UNDO_CALL } from './table-structure.ts'
import type { OpenUndo, UndoChoice, UndoTarget } from './undo-types.ts'

const MOST = 1_000
/** How long an operator waits for locks. */
const LOCK_TIMEOUT_MS = 10 * SECOND

export async function openBranches(sql: SqlExecutor, schema: string): Promise<readonly OpenUndo[]> {
  const home = quoteIdentifier(schema)
  const { rows } = await ownQuery(schema, UNDO_CALL)<OpenUndo & { replyTo: string }>(
    sql,
    `SELECT u.saga, u.saga_id AS id, u.step, u.reply_to AS "replyTo", u.birth,
       (extract(epoch FROM u.created_at) * 1000)::float8 AS since, count(i.branch)::int AS changes,
       coalesce(array_agg(DISTINCT i.relation::text) FILTER (WHERE i.branch IS NOT NULL), '{}') AS tables
     FROM ${home}.saga_undo u LEFT JOIN ${home}.saga_undo_image i ON i.branch = u.branch
     GROUP BY u.branch ORDER BY u.created_at LIMIT ${MOST}`,
  )
  return rows.map(({ replyTo, ...row }) => ({ ...row, service: serviceOf(replyTo) }))
}

export async function differencesIn(
  sql: SqlClient,
  target: UndoTarget,
  schema: string,
): Promise<readonly UndoDifference[]> {
  return sql.transaction(async (tx) => {
    const { branch } = await find(tx, target, schema)
    return look(tx, partsOf(schema), branch)
  })
}

export async function settle(sql: SqlClient, target: UndoTarget, choice: UndoChoice, schema: string): Promise<void> {
  await sql.transaction(async (tx) => {
    const parts = partsOf(schema)
    const { owner, key } = await find(tx, target, schema)
    await parts.images.alone(tx, owner, key, LOCK_TIMEOUT_MS)
    // It may have been decided while this waited.
    const row = await find(tx, target, schema)
    if (choice === 'accept') return accept(tx, parts, row)
    await markCancelled(tx, parts, row)
    await restore(tx, parts, row, choice)
  })
}

/** Marks the branch as confirmed: a later confirmation has nothing to do, and a later cancellation is refused. */
async function accept(tx: SqlTransaction, { barrier, images }: RestoreParts, row: BranchRow): Promise<void> {
  const command = { key: row.key, replyTo: row.replyTo, birth: row.birth, round: 0 }
  await barrier.enter(tx, command, 'confirm', 'ok')
  await images.release(tx, row.branch)
}

function partsOf(schema: string): RestoreParts {
  return { barrier: new Barrier(schema), images: new Images(schema), relations: new Relations(schema), alsoWrites: [] }
}

/** @throws `saga.undo_not_found` */
async function find(tx: SqlTransaction, target: UndoTarget, schema: string): Promise<BranchRow> {
  const { saga, id, step, service, birth } = target
  const { rows } = await ownQuery(schema, UNDO_CALL)<BranchRow>(
    tx,
    `SELECT branch, owner, saga_key AS key, reply_to AS "replyTo", birth FROM ${quoteIdentifier(schema)}.saga_undo
     WHERE saga = $1 AND saga_id = $2 AND step = $3 AND coalesce(reply_to = $4, true) AND coalesce(birth = $5, true)
     ORDER BY created_at`,
    [saga, id, step, service === undefined ? null : `${service}${REPLIES}`, birth ?? null],
  )
  const [row, another] = rows
  if (row === undefined) throw new UndoError('saga.undo_not_found', { branch: `${saga}/${id}/${step}` })
  if (another === undefined) return row
  const births = rows.map((each) => `${each.birth} (${serviceOf(each.replyTo)})`).join(', ')
  throw new UndoError('saga.undo_not_found', {
    branch: `${saga}/${id}/${step}`,
    problem: `is a step of several sagas: give the birth, one of ${births}`,
  })
}

function serviceOf(replyTo: string): string {
  return replyTo.endsWith(REPLIES) ? replyTo.slice(0, -REPLIES.length) : replyTo
}
