/** Output of the command line and the doctor about transactions that are prepared on MariaDB. */
import { createOperator } from '@concordat/cli'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../outbox/support/postgres.ts'
import { type MariaDatabase, openMaria } from '../saga/support/maria.ts'
import { describeWith, serverUrl } from '../support/servers/index.ts'
import { ranHere } from './support/cli.ts'

describeWith(['postgres', 'mariadb'], 'an operator of a service that prepares on MariaDB', () => {
  const name = `operate_prepared_${process.pid}`
  const whose = `concordat:${name}:`
  const gid = `${whose}1:order/o-1/reserve`
  let database: TestDatabase
  let maria: MariaDatabase

  beforeAll(async () => {
    ;[database, maria] = await Promise.all([createDatabase(), openMaria(serverUrl('mariadb') as string, name)])
    const call = {
      gid,
      whose,
      key: 'order/o-1/reserve',
      lockTimeoutMs: 100,
      idleMs: 60_000,
      isCurrent: () => Promise.resolve(true),
    }
    await maria.resource.prepare(call, () => Promise.resolve())
  })
  afterAll(async () => {
    await maria.endByHand('ROLLBACK', whose)
    await maria.pool.query(`DROP DATABASE IF EXISTS ${name}_empty`)
    await maria.pool.query(`DROP DATABASE ${name}`)
    await Promise.all([maria.end(), database.drop()])
  })

  const cli = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
    ranHere([...args, '--postgres', database.url], env)

  test('sees the age, the saga and the server of each', async () => {
    const { stdout, code } = await cli(['prepared'], { CONCORDAT_MYSQL: maria.url })
    expect(stdout).toMatch(/^SAGA\/ID\/STEP +FOR +ON +TRANSACTION\norder\/o-1\/reserve +\d+ m?s +MariaDB +concordat:/)
    expect(code).toBe(0)
    const json = JSON.parse((await cli(['prepared', '--json', '--mysql', maria.url])).stdout)
    expect(json.prepared).toEqual([{ gid, key: 'order/o-1/reserve', on: 'MariaDB', ageMs: expect.any(Number) }])
    expect(JSON.parse((await cli(['prepared', '--json'])).stdout)).toEqual({ prepared: [], more: false })
    expect((await cli(['prepared'])).stdout).toContain('XA RECOVER also lists those that are not of sagas')
  })

  test('is told by the doctor of one that is old, with what to do', async () => {
    const { resource } = maria
    const aged = {
      name: resource.name,
      ready: () => resource.ready(),
      old: async () => (await resource.old(0)).map((one) => ({ ...one, ageMs: 7 * 60_000 })),
    }
    const { lines } = await createOperator({ sql: database.sql, resources: [aged] }).doctor()
    expect(lines.filter(({ check, text }) => check === 'resource' || text.includes('MariaDB'))).toEqual([
      { check: 'resource', status: 'ok', text: 'MariaDB answers and can prepare' },
      {
        check: 'prepared',
        status: 'warn',
        text: `${gid} is prepared for 7 min on MariaDB: it holds locks`,
        remedy: expect.stringContaining('npx concordat saga show order/o-1'),
      },
    ])
  })

  test('is told of a server that does not answer, and of a database without our table, and of no password', async () => {
    const secret = 'mysql://root:hunter2@127.0.0.1:1/test'
    const away = await cli(['doctor', '--mysql', secret])
    expect(away).toMatchObject({
      code: 2,
      stdout: expect.stringMatching(/fail {2}resource +MariaDB: no answer: .*\n +-> check/),
    })
    expect(await cli(['prepared', '--mysql', secret])).toMatchObject({ code: 3, stdout: '' })
    expect(`${away.stdout}${(await cli(['prepared', '--mysql', secret])).stderr}`).not.toContain('hunter2')
    const empty = new URL(maria.url)
    empty.pathname = `/${name}_empty`
    await maria.pool.query(`CREATE DATABASE ${name}_empty`)
    expect((await cli(['doctor', '--mysql', empty.href])).stdout).toMatch(
      /fail {2}resource +MariaDB: .*resource\.migrate\(\)/,
    )
    expect(await cli(['doctor', '--mysql', 'http://x'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--mysql: expected an address such as mysql://'),
    })
  })
})
