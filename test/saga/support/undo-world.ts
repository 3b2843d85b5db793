/** A service whose branches do what a test says, on one database: from a coordinator's point of view. */
import type { Headers, SinkBinding } from 'concordat/binder'
import type { SqlClient, SqlTransaction } from 'concordat/core'
import { createOutbox } from 'concordat/outbox'
import { migrateParticipant, type SagaReply } from 'concordat/saga'
import { type UndoParticipantOptions, undoParticipant } from 'concordat/saga/undo'
import type { Operation } from '../../support/inside/saga.ts'
import { commandHeaders, deliver, takeReplies } from './delivery.ts'
import { FAST, stockCommands } from './world.ts'

type Work = (tx: SqlTransaction) => unknown

export interface UndoWorld {
  readonly sql: SqlClient
  readonly schema: string
  readonly ready: () => Promise<void>
  readonly bind: (work?: Work, options?: Partial<UndoParticipantOptions>) => SinkBinding
  /** Sends a command as a coordinator does. @returns the answer */
  readonly ask: (operation: Operation, of?: BranchOf, binding?: SinkBinding) => Promise<SagaReply>
  /** The first phase of a branch that does this. */
  readonly act: (work: Work | readonly string[], of?: BranchOf) => Promise<SagaReply>
  /** Branches, images and row locks that are left. */
  readonly kept: () => Promise<readonly number[]>
  /** Exact rows of a table. */
  readonly rows: (table: string) => Promise<readonly string[]>
}

export interface BranchOf {
  readonly id?: string
  readonly step?: string
}

export function undoWorld(sql: SqlClient, schema: string): UndoWorld {
  const outbox = createOutbox({ sql, service: 'stock', schema, partitions: 1 })
  const bind: UndoWorld['bind'] = (work = () => {}, options = {}) =>
    undoParticipant(
      stockCommands,
      { group: 'stock', sql, outbox, schema, backoff: FAST, lockTimeoutMs: 20, maxAttempts: 1, ...options },
      (_, { tx }) => work(tx),
    )
  let answers: SagaReply[] = []
  const ask: UndoWorld['ask'] = async (operation, { id = 's', step = 'reserve' } = {}, binding = bind()) => {
    const headers: Headers = { ...commandHeaders(id, operation, 1, step), 'saga-kind': 'tcc' }
    await deliver(binding, { sku: id, n: 1 }, headers, 1)
    // When commands run at once, the first one that ends takes the replies to all of them.
    answers.push(...(await takeReplies(sql, schema)))
    const isMine = (reply: SagaReply): boolean =>
      reply.sagaId === id && reply.step === step && reply.operation === operation
    const mine = answers.filter(isMine).at(-1)
    answers = answers.filter((reply) => !isMine(reply))
    return mine as SagaReply
  }
  const run = async (work: Work | readonly string[], tx: SqlTransaction): Promise<void> => {
    if (typeof work === 'function') return void (await work(tx))
    for (const text of work) await tx.query(text)
  }
  return {
    sql,
    schema,
    bind,
    ask,
    act: (work, of) =>
      ask(
        'invoke',
        of,
        bind((tx) => run(work, tx)),
      ),
    ready: async () => {
      await outbox.migrate()
      await migrateParticipant(sql, schema)
    },
    kept: async () => {
      const { rows } = await sql.query<{ n: number }>(
        `SELECT count(*)::int AS n FROM ${schema}.saga_undo UNION ALL SELECT count(*)::int FROM ${schema}.saga_undo_image
         UNION ALL SELECT count(*)::int FROM ${schema}.saga_undo_lock`,
      )
      return rows.map(({ n }) => n)
    },
    rows: async (table) => {
      const { rows } = await sql.query<{ row: string }>(`SELECT t::text AS row FROM ${table} t ORDER BY 1`)
      return rows.map(({ row }) => row)
    },
  }
}
