/** The service of the tests with processes that run global transactions: its definition, and a coordinator without a binder. */
import { defineChannel } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { createOutbox } from 'concordat/outbox'
import { type Coordinator, createCoordinator } from 'concordat/saga/coordinator'
import { defineBranch, defineGlobalTransaction, type GlobalTransactionDefinition } from 'concordat/saga/global'
import { z } from 'zod'

export function transferOf(run: string) {
  const moves = defineChannel(`${run}.moves`, { payload: z.object({ account: z.string() }) })
  const move = defineBranch('move', { to: moves, timeoutMs: 5_000 })
  const transfer = defineGlobalTransaction('transfer', {
    input: z.object({}),
    branches: [move],
    timeoutMs: 120_000,
  })
  return { moves, move, transfer }
}

export interface Front {
  readonly run: string
  readonly instance: string
  readonly leaseMs: number
}

/** Creates a coordinator whose commands leave through the relay of another process, which also gets their answers. */
export function lonelyCoordinator(
  sql: SqlClient,
  transfer: GlobalTransactionDefinition<object>,
  { run, instance, leaseMs }: Front,
): Coordinator {
  const service = `${run}-front`
  const outbox = createOutbox({ sql, service, schema: run })
  return createCoordinator({ service, sql, outbox, schema: run, instance, leaseMs, pollMs: 100, sagas: [transfer] })
}
