/** Sagas that contend for one row, which each of them locks until it is decided: by undo, or by XA. */
import { randomUUID } from 'node:crypto'
import { defineChannel, type SinkBinding } from 'concordat/binder'
import type { SqlClient, SqlTransaction } from 'concordat/core'
import { memoryTransport } from 'concordat/memory'
import { defineSaga } from 'concordat/saga'
import { createService } from 'concordat/service'
import { z } from 'zod'

export const hotMoves = defineChannel('hot.moves', { payload: z.object({ by: z.number().int() }) })

const MORE = { maxAttempts: 1_000, initialMs: 20, maxMs: 100 }
const saga = defineSaga('hot', { version: 1, input: z.object({ by: z.number().int() }) })
  .tcc('move', { to: hotMoves, request: ({ input }) => input, retry: MORE, confirmRetry: MORE })
  .step('decide', { invoke: () => {}, compensate: 'none' })

/** Work of the participant, of any kind. */
export async function move({ by }: { readonly by: number }, { tx }: { readonly tx: SqlTransaction }): Promise<void> {
  await tx.query(`UPDATE hot SET n = n + $1 WHERE id = 'h'`, [by])
}

export interface HotRow {
  readonly sql: SqlClient
  readonly schema: string
  readonly sagas: number
  readonly participant: SinkBinding
}

/** Runs `count` sagas at once. @returns how they ended, and the value of the row then */
export async function fightForRow({
  sql,
  schema,
  sagas,
  participant,
}: HotRow): Promise<{ ends: string[]; total: number }> {
  await sql.query('CREATE TABLE IF NOT EXISTS hot (id text PRIMARY KEY, n int NOT NULL)')
  await sql.query(`INSERT INTO hot VALUES ('h', 0) ON CONFLICT (id) DO UPDATE SET n = 0`)
  const service = createService({
    name: 'hot',
    sql,
    schema,
    transport: memoryTransport(),
    sagas: [saga],
    bindings: [participant],
  })
  const fight = randomUUID()
  await service.start()
  try {
    const ends = Array.from({ length: sagas }, async (_, n) => {
      const run = await service.run(saga, { id: `${fight}-${n}`, input: { by: 1 } })
      return (await run.outcome()).status
    })
    const ended = await Promise.all(ends)
    const { rows } = await sql.query<{ n: number }>(`SELECT n FROM hot WHERE id = 'h'`)
    return { ends: [...new Set(ended)], total: rows[0]?.n ?? 0 }
  } finally {
    await service.close()
  }
}
