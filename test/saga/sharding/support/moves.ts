/** The saga of the tests with processes: two local steps whose effects are rows of their own shard. */
import type { Logger, SqlClient } from 'concordat/core'
import { createOutbox } from 'concordat/outbox'
import { defineSaga } from 'concordat/saga'
import { createShardedCoordinator, type ShardedCoordinator } from 'concordat/saga/coordinator'
import { z } from 'zod'
import type { ShardOptions } from '../../../support/inside/saga.ts'

export interface MovesOptions {
  readonly sql: Readonly<Record<string, SqlClient>>
  readonly instance: string
  readonly leaseMs: number
  /** Called in the middle of the second step. */
  readonly inSlow?: (sagaId: string) => Promise<void>
  readonly logger?: Logger
}

export function moves({ sql, instance, leaseMs, inSlow, logger }: MovesOptions) {
  const move = defineSaga('move', { version: 1, input: z.object({ n: z.number() }) })
    .step('open', {
      transactional: true,
      invoke: async ({ tx, key }) => void (await tx.query('INSERT INTO effects VALUES ($1, $2)', [key, instance])),
      compensate: 'none',
    })
    .step('slow', {
      transactional: true,
      invoke: async ({ tx, key, sagaId }) => {
        await tx.query('INSERT INTO effects VALUES ($1, $2)', [key, instance])
        await inSlow?.(sagaId)
      },
      compensate: 'none',
    })
  const shards: Record<string, ShardOptions> = {}
  for (const [name, client] of Object.entries(sql)) {
    shards[name] = { sql: client, outbox: createOutbox({ sql: client, service: `moves-${name}` }) }
  }
  const more = logger === undefined ? {} : { logger }
  const coordinator: ShardedCoordinator = createShardedCoordinator({
    service: 'moves',
    instance,
    leaseMs,
    pollMs: 100,
    sagas: [move],
    shards,
    ...more,
  })
  return { coordinator, move }
}
