/** The saga of the tests with processes: three local steps whose effects are rows in `effects`. */
import type { Logger, SqlClient, SqlExecutor } from 'concordat/core'
import { createOutbox } from 'concordat/outbox'
import { defineSaga, Refusal } from 'concordat/saga'
import { type Coordinator, createCoordinator } from 'concordat/saga/coordinator'
import { z } from 'zod'

const Input = z.object({ refuse: z.boolean(), kind: z.enum(['plain', 'transactional']) })

export interface Effects {
  readonly schema: string
  readonly instance: string
  readonly sql: SqlClient
  /** Called in the middle of step `slow`, after its effect was written. */
  readonly inSlow: (sagaId: string) => Promise<void>
}

/** Step functions of one process; the definition's graph is the same in all of them. */
export function transferSagas({ schema, instance, sql, inSlow }: Effects) {
  const write = (on: SqlExecutor, key: string, what: string): Promise<unknown> =>
    on.query(`INSERT INTO ${schema}.effects (key, what, instance) VALUES ($1, $2, $3)`, [key, what, instance])
  const define = (name: string) => defineSaga(name, { version: 1, input: Input })
  const transactional = define('tx')
    .step('open', {
      transactional: true,
      invoke: async ({ tx, key }) => void (await write(tx, key, 'open')),
      compensate: async ({ tx, key }) => void (await write(tx, key, 'undo open')),
    })
    .step('slow', {
      transactional: true,
      invoke: async ({ tx, key, sagaId }) => {
        await write(tx, key, 'slow')
        await inSlow(sagaId)
      },
      compensate: async ({ tx, key }) => void (await write(tx, key, 'undo slow')),
    })
    .step('end', {
      transactional: true,
      pivot: true,
      invoke: async ({ tx, key, input }) => {
        if (input.refuse) throw new Refusal('no', 'no')
        await write(tx, key, 'end')
      },
    })
  const plain = define('plain')
    .step('slow', {
      invoke: async ({ key, sagaId }) => {
        await sql.query(
          `INSERT INTO ${schema}.effects (key, what, instance) SELECT $1, 'slow', $2
           WHERE NOT EXISTS (SELECT 1 FROM ${schema}.effects WHERE key = $1)`,
          [key, instance],
        )
        await inSlow(sagaId)
        return instance
      },
      compensate: 'none',
    })
    .step('end', {
      transactional: true,
      pivot: true,
      invoke: async ({ tx, key, results }) => {
        await write(tx, key, 'end')
        return results.slow
      },
    })
  return { transactional, plain }
}

export type TransferSagas = ReturnType<typeof transferSagas>

export function transferCoordinator(
  effects: Effects,
  leaseMs: number,
  logger?: Logger,
): { coordinator: Coordinator; sagas: TransferSagas } {
  const { sql, schema, instance } = effects
  const sagas = transferSagas(effects)
  const coordinator = createCoordinator({
    service: 'orders',
    sql,
    outbox: createOutbox({ sql, service: 'orders', schema }),
    schema,
    instance,
    sagas: [sagas.transactional, sagas.plain],
    leaseMs,
    pollMs: 50,
    concurrency: 2,
    drainTimeoutMs: 1_000,
    ...(logger && { logger }),
  })
  return { coordinator, sagas }
}
