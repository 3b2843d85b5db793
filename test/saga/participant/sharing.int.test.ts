import type { SqlClient, SqlTransaction } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { createOutbox } from 'concordat/outbox'
import { migrateParticipant } from 'concordat/saga'
import pg from 'pg'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../outbox/support/postgres.ts'
import { describeWith } from '../../support/servers/index.ts'
import { takeReplies } from '../support/delivery.ts'
import { sharedParticipant } from './support/shared-participant.ts'

const schema = 'concordat'
const COMMANDS = Array.from({ length: 24 }, (_, n) => `c${n}`)

describeWith(['postgres'], 'commands that share transactions, on a server', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createDatabase()
    await createOutbox({ sql: database.sql, service: 'stock' }).migrate()
    await migrateParticipant(database.sql, schema)
    await database.sql.query('CREATE TABLE effects (id text)')
  })
  afterAll(() => database.drop())

  const instance = (
    effects: 'tx' | 'anywhere',
    { around = (sql: SqlClient) => sql }: { around?: (sql: SqlClient) => SqlClient } = {},
  ) => {
    const pool = new pg.Pool({ connectionString: database.url, max: 4 })
    onTestFinished(() => pool.end())
    const sql = around(pgClient(pool))
    return sharedParticipant({
      sql,
      outbox: createOutbox({ sql, service: 'stock' }),
      schema,
      effects,
      invoke: async ({ tx, sagaId }) => {
        await tx.query('INSERT INTO effects VALUES ($1)', [sagaId])
        return sagaId
      },
    })
  }

  const effectsOf = async (ids: readonly string[]): Promise<readonly string[]> => {
    const { rows } = await database.sql.query<{ id: string }>('SELECT id FROM effects WHERE id = ANY($1)', [[...ids]])
    return rows.map(({ id }) => id).toSorted()
  }

  test.each(['tx', 'anywhere'] as const)(
    'have one effect when two processes get each of them at once, with effects %s',
    async (effects) => {
      const [one, other] = [await instance(effects), await instance(effects)]
      for (let round = 0; round < 10; round++) {
        const ids = COMMANDS.map((id) => `${effects}-${round}-${id}`)
        await takeReplies(database.sql, schema)
        await Promise.all([...ids.map((id) => one(id)), ...ids.toReversed().map((id) => other(id))])
        expect(await effectsOf(ids)).toEqual(ids.toSorted())
        const answers = (await takeReplies(database.sql, schema)).map(
          ({ status, result }) => `${status} ${String(result)}`,
        )
        expect(answers.toSorted()).toEqual(ids.flatMap((id) => [`ok ${id}`, `ok ${id}`]).toSorted())
      }
    },
    60_000,
  )

  test('whose commit has no answer are rejected, and done once when they are redelivered', async () => {
    let isLost = false
    const lossy = (sql: SqlClient): SqlClient => ({
      ...sql,
      transaction: (work, limits) => sql.transaction((tx) => work(losing(tx)), limits),
    })
    // The statement that takes the commit along was carried out, and the connection broke before the answer.
    const losing = (tx: SqlTransaction): SqlTransaction => {
      const { last } = tx
      if (last === undefined) return tx
      return {
        ...tx,
        last: async <Row extends object>(text: string, parameters?: readonly unknown[]) => {
          const answer = await last<Row>(text, parameters)
          if (isLost) throw Object.assign(new Error('Connection terminated unexpectedly'), { code: 'ECONNRESET' })
          return answer
        },
      }
    }
    const command = await instance('tx', { around: lossy })
    const ids = COMMANDS.map((id) => `lost-${id}`)
    await takeReplies(database.sql, schema)
    isLost = true
    const outcomes = await Promise.allSettled(ids.map((id) => command(id)))
    isLost = false
    expect(new Set(outcomes.map(({ status }) => status))).toEqual(new Set(['rejected']))
    // Each command gets an answer, written with the effect: a participant without an answer of its database leaves the command to
    // redelivery.
    expect(await takeReplies(database.sql, schema)).toHaveLength(ids.length)
    await Promise.all(ids.map((id) => command(id)))
    expect(await effectsOf(ids)).toEqual(ids.toSorted())
  })
})
