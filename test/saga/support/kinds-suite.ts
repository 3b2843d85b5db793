/** Runs the conformance of kinds on one database; `kinds.ts` defines the kinds. */

import type { MysqlXaResource } from '@concordat/mysql'
import type { SqlClient } from 'concordat/core'
import { createOutbox } from 'concordat/outbox'
import { migrateParticipant, type SagaReply } from 'concordat/saga'
import { afterAll, beforeAll } from 'vitest'
import { type Account, commandConformance, formConformance } from '../../conformance/transactions.ts'
import { crashWorld } from './crash-world.ts'
import { commandHeaders, deliver, takeReplies } from './delivery.ts'
import { askByHttp, serveParticipant } from './http-side.ts'
import { accountIn, FORMS, LEDGER, PARTICIPANTS, type ParticipantKind } from './kinds.ts'

export interface KindsDatabase {
  readonly sql: SqlClient
  /** Resource with the ledger, when it is not in `sql`. */
  readonly resource?: MysqlXaResource
  /** Account in that ledger. */
  readonly account?: (id: string) => Promise<Account>
  /** Transactions of this saga that are still prepared. */
  readonly prepared: (id: string) => Promise<readonly string[]>
  /** Ends what stays prepared because an operator ended its saga: it would keep the tables from being dropped. */
  readonly endPrepared?: () => Promise<void>
}

/** Tests the commands of a participant of this kind. */
export function commandsOf(name: keyof typeof PARTICIPANTS, database: KindsDatabase, way: 'message' | 'http'): void {
  const { sql, resource, account } = database
  const row: ParticipantKind = PARTICIPANTS[name]
  const kind = way === 'http' ? { ...row, name: `${row.name} by HTTP` } : row
  const schema = `kind_${name.toLowerCase()}_${way}`
  const outbox = createOutbox({ sql, service: 'stock', schema, partitions: 1 })
  const binding = kind.bind({ sql, outbox, schema, resource }, { confirm: false, cancel: false })
  beforeAll(async () => {
    await sql.query(LEDGER)
    await outbox.migrate()
    await migrateParticipant(sql, schema)
    await kind.ready?.({ sql, schema })
  }, 120_000)
  const served = serveParticipant(binding)
  afterAll(async () => (await served).close())
  // Drops the ledger's triggers too: a table is protected for one schema.
  afterAll(() => sql.query(`DROP SCHEMA ${schema} CASCADE`))
  commandConformance(kind, {
    account: account ?? ((id) => accountIn(sql, id)),
    send: async (id, operation, headers) => {
      if (way === 'http')
        return [
          answerText(
            await askByHttp(await served, { sku: 'apple', n: 1 }, { ...commandHeaders(id, operation), ...headers }),
          ),
        ]
      await deliver(binding, { sku: 'apple', n: 1 }, { ...commandHeaders(id, operation), ...headers })
      const replies = await takeReplies(sql, schema)
      return replies.map(answerText)
    },
  })
}

function answerText({ status, final, code }: SagaReply): string {
  return [status, ...(final === true ? ['final'] : []), ...(code === undefined ? [] : [code])].join(' ')
}

/** Tests the outcomes of a transaction of this form. */
export function formOf(name: keyof typeof FORMS, database: KindsDatabase): void {
  const { sql, resource, account, prepared, endPrepared } = database
  const row = FORMS[name]
  const kind: ParticipantKind = PARTICIPANTS[row.kind]
  const broken = { confirm: false, cancel: false }
  const place = `kind_${name.toLowerCase()}`
  let client = sql
  /** Client of the process that runs. */
  const own: SqlClient = {
    ...sql,
    query: (text, parameters) => client.query(text, parameters),
    transaction: (work) => client.transaction(work),
  }
  const saga = row.define(broken, { sql: own, schema: `${place}_stock` })
  const world = crashWorld({
    name: place,
    sagas: [saga],
    tables: LEDGER,
    participant: (side) => kind.bind({ ...side, resource }, broken),
    sql,
    ...('leaseMs' in row && { leaseMs: row.leaseMs }),
    ...('place' in row && { place: row.place }),
    ...('isLocal' in row && { within: (of: SqlClient) => void (client = of) }),
  })
  const home = { sql: world.sql, schema: world.stockSchema }
  beforeAll(() => kind.ready?.(home))
  if (endPrepared !== undefined) afterAll(endPrepared)
  const kept = async (id: string) => [...(await prepared(id)), ...((await kind.kept?.(home, id)) ?? [])]
  formConformance(
    { ...row, sagaName: saga.name, run: row.runs(saga) },
    { world, broken, account: account ?? ((id) => accountIn(world.sql, id)), kept },
  )
}
