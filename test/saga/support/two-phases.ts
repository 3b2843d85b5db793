/** A transfer over participants of every kind in three databases, all called by the coordinator's own process. */
import { type MysqlXaResource } from '@concordat/mysql'
import { defineChannel } from 'concordat/binder'
import { type SqlClient, silentLogger } from 'concordat/core'
import { memoryTransport } from 'concordat/memory'
import { defineSaga, localTarget, Refusal } from 'concordat/saga'
import { tccParticipant } from 'concordat/saga/tcc'
import { undoParticipant } from 'concordat/saga/undo'
import { xaParticipant } from 'concordat/saga/xa'
import { createService } from 'concordat/service'
import { z } from 'zod'
import { stoppingResource } from './mortal-resource.ts'
import { FAST } from './world.ts'

/** A moment in the second phase. */
export type Moment =
  | 'before PostgreSQL ends'
  | 'PostgreSQL has ended'
  | 'MariaDB has ended'
  | 'within confirm or cancel'

export interface Databases {
  /** The coordinator, and what is prepared on PostgreSQL. */
  readonly a: SqlClient
  /** Reservations, and what is undone. */
  readonly b: SqlClient
  readonly maria: MysqlXaResource
}

const Move = z.object({ cents: z.number() })
const channelOf = (name: string) => defineChannel(`phases.${name}`, { payload: Move })
const options = { group: 'bank', effects: 'tx' } as const
const { effects: _, ...plain } = options

/** @param at called at each moment */
export function twoPhases({ a, b, maria }: Databases, at: (moment: Moment) => Promise<void>) {
  const ending: SqlClient = {
    ...a,
    query: async (text, parameters) => {
      const isEnd = /^(?:COMMIT|ROLLBACK) PREPARED/.test(text)
      if (isEnd) await at('before PostgreSQL ends')
      const result = await a.query<never>(text, parameters)
      if (isEnd) await at('PostgreSQL has ended')
      return result
    },
  }
  const resource = stoppingResource(maria, { afterEnd: () => at('MariaDB has ended') })
  const channels = { xa: channelOf('xa'), maria: channelOf('maria'), tcc: channelOf('tcc'), undo: channelOf('undo') }
  const move = 'INSERT INTO moves VALUES ($1)'
  const to = {
    xa: localTarget(
      channels.xa,
      xaParticipant(channels.xa, plain, async (_request, { tx, key }) => void (await tx.query(move, [key]))),
      { sql: ending },
    ),
    maria: localTarget(
      channels.maria,
      xaParticipant(
        channels.maria,
        { ...plain, resource },
        async (_request, { tx, key }) => void (await tx.query('INSERT INTO moves VALUES (?)', [key])),
      ),
      { sql: b },
    ),
    tcc: localTarget(
      channels.tcc,
      tccParticipant(channels.tcc, options, {
        try: async ({ cents }, { tx, key }) => void (await tx.query('INSERT INTO holds VALUES ($1, $2)', [key, cents])),
        confirm: async (_request, { tx, key }) => {
          await tx.query('DELETE FROM holds WHERE key = $1', [key])
          await tx.query(move, [key])
          await at('within confirm or cancel')
        },
        cancel: async (_request, { tx, key }) => {
          await tx.query('DELETE FROM holds WHERE key = $1', [key])
          await at('within confirm or cancel')
        },
      }),
      { sql: b },
    ),
    undo: localTarget(
      channels.undo,
      undoParticipant(
        channels.undo,
        plain,
        async (_request, { tx, key }) => void (await tx.query('INSERT INTO undoable VALUES ($1)', [key])),
      ),
      { sql: b },
    ),
  }
  const step = (target: (typeof to)['xa']) => ({
    to: target,
    request: () => ({ cents: 1 }),
    timeoutMs: 500,
    retry: FAST,
    confirmRetry: FAST,
    compensationRetry: FAST,
  })
  const saga = defineSaga('phases', { version: 1, input: z.object({ refuse: z.boolean() }) })
    .tcc('undo', step(to.undo))
    .tcc('tcc', step(to.tcc))
    .tcc('maria', step(to.maria))
    .tcc('xa', step(to.xa))
    .step('decide', {
      pivot: true,
      transactional: true,
      invoke: ({ input }) => {
        if (input.refuse) throw new Refusal('phases.refused', 'no')
      },
    })
  const service = createService({
    name: 'phases',
    schema: 'phases',
    sql: a,
    transport: memoryTransport(),
    sagas: [saga],
    logger: silentLogger,
    parts: { coordinator: { leaseMs: 500, pollMs: 30 } },
  })
  return { saga, service }
}
