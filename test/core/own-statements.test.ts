import type { SqlTransaction } from 'concordat/core'
import { kyselyClient } from 'concordat/core/orms'
import { pgClient } from 'concordat/core/pg'
import { ownQuery } from 'concordat/extension'
import { describe, expect, it } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- internal
import { sqlUnavailable } from '../../core/sql-unavailable.ts'
// oxlint-disable-next-line no-restricted-imports -- internal
import { writeFault, writeOutcome } from '../../core/write-fault.ts'

const unanswered = (): Error => new Error('Query read timeout')
const thrownBy = (work: Promise<unknown>): Promise<unknown> =>
  work.then(() => undefined).catch((error: unknown) => error)

/** A client of a pool whose `query_timeout` ends the statements that begin like this. Every other one is answered. */
function clientThatGivesUp(...beginnings: readonly string[]) {
  return clientThatFails(unanswered, ...beginnings)
}

function clientThatFails(failure: () => Error, ...beginnings: readonly string[]) {
  const query = (text: string): Promise<object> =>
    beginnings.some((beginning) => text.startsWith(beginning))
      ? Promise.reject(failure())
      : Promise.resolve({ rows: [], rowCount: 0, command: text.split(' ', 1)[0] })
  const nothing = (): void => {}
  const connect = () => Promise.resolve({ query, on: nothing, off: nothing, release: nothing })
  return pgClient({ query, connect, on: nothing } as never)
}

interface KyselyTransaction {
  executeQuery(): Promise<object>
  withoutPlugins(): KyselyTransaction
}

const work = async (tx: SqlTransaction): Promise<void> => {
  await ownQuery('concordat', 'inbox.migrate()')(tx, 'INSERT INTO inbox')
  await tx.query('UPDATE stock')
}

describe('a statement without an answer within the pool’s `query_timeout`', () => {
  it.each(['BEGIN', 'INSERT INTO inbox', 'COMMIT'])(
    'marks the database as down when it is ours: %s',
    async (beginning) => {
      expect(sqlUnavailable(await thrownBy(clientThatGivesUp(beginning).transaction(work)))).toBe('lost')
    },
  )

  it('marks the database as down when it prepares a transaction', async () => {
    const { prepare } = clientThatGivesUp('PREPARE TRANSACTION')
    expect(sqlUnavailable(await thrownBy(prepare?.('gid', work) ?? Promise.resolve()))).toBe('lost')
  })

  it('marks the database as down when it is the COMMIT of Kysely', async () => {
    const trx: KyselyTransaction = { executeQuery: () => Promise.resolve({ rows: [] }), withoutPlugins: () => trx }
    const execute = (run: (given: KyselyTransaction) => Promise<void>) =>
      run(trx).then(() => Promise.reject(unanswered()))
    const sql = kyselyClient({ ...trx, transaction: () => ({ setIsolationLevel: () => ({ execute }) }) } as never)
    expect(sqlUnavailable(await thrownBy(sql.transaction(work)))).toBe('lost')
  })

  it('says nothing about the database when a statement before it took as long, and the handler did not care', async () => {
    const careless = (tx: SqlTransaction) => tx.query('UPDATE stock').catch(() => {})
    const client = clientThatGivesUp('UPDATE stock', 'COMMIT')
    expect(sqlUnavailable(await thrownBy(client.transaction(careless)))).toBeUndefined()
  })

  it('says nothing about the database when it is the handler’s', async () => {
    const error = await thrownBy(clientThatGivesUp('UPDATE stock').transaction(work))
    expect(error).toEqual(unanswered())
    expect(sqlUnavailable(error)).toBeUndefined()
  })
})

describe('a transaction that the server’s `transaction_timeout` ended', () => {
  const over = (): Error =>
    Object.assign(new Error('terminating connection due to transaction timeout'), { code: '25P04' })
  const endedBefore = (): Error =>
    Object.assign(new Error('Client has encountered a connection error and is not queryable'), { cause: over() })

  it('in a statement of ours, marks the database as down, and the write as not done', async () => {
    const error = await thrownBy(clientThatFails(over, 'INSERT INTO inbox').transaction(work))
    expect([writeFault(error), writeOutcome(error)]).toEqual(['unavailable', 'not_done'])
  })

  it('counts as the end of the session in a statement of the handler', async () => {
    expect(writeFault(await thrownBy(clientThatFails(over, 'UPDATE stock').transaction(work)))).toBe('session-ended')
  })

  it('counts as the end of the session when the handler paused before a statement of ours', async () => {
    const error = await thrownBy(clientThatFails(endedBefore, 'INSERT INTO inbox').transaction(work))
    expect(writeFault(error)).toBe('session-ended')
  })
})
