/** Guarantees of the kind of transaction that prepares on MariaDB. */
import { pgClient } from 'concordat/core/pg'
import pg from 'pg'
import { afterAll, beforeAll, describe } from 'vitest'
import type { Account } from '../../conformance/transactions.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { commandsOf, formOf } from '../support/kinds-suite.ts'
import { attachMaria } from '../support/maria.ts'

describeWith(['postgres', 'mariadb'], 'kinds of transaction that prepare on MariaDB', () => {
  const pool = new pg.Pool({ connectionString: serverUrl('postgres'), max: 10 })
  const sql = pgClient(pool)
  const maria = attachMaria(serverUrl('mariadb') as string)
  beforeAll(async () => {
    await maria.resource.migrate()
    await maria.pool.query(
      'CREATE TABLE kinds_ledger (line bigint AUTO_INCREMENT PRIMARY KEY, id varchar(80), held int, done int) ENGINE=InnoDB',
    )
  })
  afterAll(async () => {
    await maria.pool.query('DROP TABLE kinds_ledger')
    await maria.end()
    await sql.query('DROP TABLE IF EXISTS kinds_ledger')
    await pool.end()
  })
  const account = async (id: string): Promise<Account> => {
    const [row] = await maria.rows<Account>(
      `SELECT CAST(coalesce(sum(held), 0) AS INT) AS held, CAST(coalesce(sum(done), 0) AS INT) AS done
       FROM kinds_ledger WHERE id = ?`,
      [id],
    )
    return row as Account
  }
  const database = {
    sql,
    resource: maria.resource,
    account,
    prepared: (id: string) => maria.prepared(id),
    endPrepared: () => maria.endByHand('ROLLBACK', 'concordat:'),
  }
  describe('xaMariadb', () => commandsOf('xaMariadb', database, 'message'))
  for (const name of ['xaMariadb', 'codeXaMariadb'] as const) describe(name, () => formOf(name, database))
})
