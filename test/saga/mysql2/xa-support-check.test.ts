/**
 * Server properties that make it unfit for preparing. A connection that answers as the manuals describe takes the place of the
 * server.
 */
import { type MysqlConnection, mysqlResource } from '@concordat/mysql'
import { describe, expect, test } from 'vitest'

type Answers = Readonly<Record<string, unknown>>

const MARIADB = { version: '10.11.6-MariaDB-log', autocommit: 1, database: 'shop', format: 'MIXED', isLogged: 1 }
const MYSQL = { ...MARIADB, version: '8.0.36', format: 'ROW' }

function fails(errno: number, message = `error ${errno}`): never {
  throw Object.assign(new Error(message), { errno })
}

/**
 * @param answers the row of the server, and variables by name; other variables do not exist there
 */
function connection(row: Answers, answers: Answers = {}): MysqlConnection {
  const run: MysqlConnection['query'] = async (statement) => {
    const text = typeof statement === 'string' ? statement : statement.sql
    if (text.startsWith('SELECT VERSION()')) return [[row], []]
    const variable = /^SELECT @@(\w+) AS value$/.exec(text)?.[1]
    if (variable !== undefined) {
      return variable in answers ? [[{ value: answers[variable] }], []] : fails(1193, 'Unknown system variable')
    }
    const known = answers[text.startsWith('XA') ? 'XA RECOVER' : 'table']
    return typeof known === 'number' ? fails(known) : [[], []]
  }
  return { query: run, execute: run, end: async () => {}, release: () => {}, destroy: () => {} }
}

const ready = (row: Answers, answers?: Answers): Promise<void> =>
  mysqlResource({ getConnection: async () => connection(row, answers) }).ready()

describe('a server that an XA participant can prepare on', () => {
  test.each([
    ['MariaDB', MARIADB, { wsrep_on: 0 }],
    ['MariaDB behind the number of an old MySQL', { ...MARIADB, version: '5.5.5-10.6.0-MariaDB' }, {}],
    ['MySQL', MYSQL, { xa_detach_on_prepare: 1 }],
  ])('is %s', async (_, row, answers) => {
    await expect(ready(row, answers)).resolves.toBeUndefined()
  })
})

describe('a server that it cannot prepare on is refused with the remedy', () => {
  test.each([
    ['an old MariaDB', { ...MARIADB, version: '10.5.29-MariaDB' }, {}, 'upgrade to MariaDB 10.6'],
    ['a Galera cluster', MARIADB, { wsrep_on: 1 }, 'a server outside of it'],
    ['one that rolls back at disconnect', MARIADB, { legacy_xa_rollback_at_disconnect: 1 }, 'switch it off'],
    ['an old MySQL', { ...MYSQL, version: '8.0.28' }, { xa_detach_on_prepare: 1 }, 'upgrade to MySQL 8.0.29'],
    ['a MySQL that does not detach', MYSQL, { xa_detach_on_prepare: 0 }, 'set it to ON'],
    [
      'a MySQL whose user may not list',
      MYSQL,
      { xa_detach_on_prepare: 1, 'XA RECOVER': 1401 },
      'GRANT XA_RECOVER_ADMIN ON *.* TO this user',
    ],
    ['one without autocommit', { ...MARIADB, autocommit: 0 }, {}, 'set autocommit = 1'],
    ['one that logs statements', { ...MARIADB, format: 'STATEMENT' }, {}, 'MIXED or ROW'],
    ['a pool without a database', { ...MARIADB, database: null }, {}, 'give it one'],
  ])('%s', async (_, row, answers, remedy) => {
    await expect(ready(row, answers)).rejects.toMatchObject({
      code: 'core.sql_cannot_prepare',
      message: expect.stringContaining(remedy),
    })
  })

  test('rejects a server without the concordat_xa table', async () => {
    await expect(ready(MARIADB, { table: 1146 })).rejects.toMatchObject({
      code: 'core.tables_missing',
      message: expect.stringContaining('call resource.migrate() first'),
    })
  })
})

test('mysqlResource needs a pool', () => {
  expect(() => mysqlResource({} as never)).toThrow('mysqlResource: expected a pool')
})
