// oxlint-disable no-restricted-imports -- inside of the command line: a command without a server
import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { promisify } from 'node:util'
import { createOperator } from '@concordat/cli'
import { migrate, type SqlClient } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { createFence } from 'concordat/locks'
import { migrationParts, printGrants, printMigrations } from 'concordat/operator'
import { createInbox, createOutbox } from 'concordat/outbox'
import { postgresLocks, postgresStateStore } from 'concordat/postgres'
import { migrateParticipant } from 'concordat/saga'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { Invocation } from '../../packages/cli/commands/command.ts'
import { MIGRATE_COMMANDS } from '../../packages/cli/commands/migrate.ts'
import { asNextRelease } from '../support/next-release.ts'
import { freshPglite } from '../support/pglite.ts'

const database = freshPglite()
const sql = pgliteClient(database)
beforeAll(() => database.waitReady, 180_000)
afterAll(() => database.close())

/** A client that fails a test that changes anything. */
const readOnly: SqlClient = {
  query: (text, parameters) =>
    /^\s*SELECT/i.test(text) ? sql.query(text, parameters) : Promise.reject(new Error(`not read only: ${text}`)),
  transaction: () => Promise.reject(new Error('a transaction')),
}

async function versions(schema: string): Promise<Record<string, number>> {
  const { rows } = await sql.query<{ part: string; version: number }>(
    `SELECT part, max(version)::int AS version FROM "${schema}".concordat_migration GROUP BY part`,
  )
  return Object.fromEntries(rows.map(({ part, version }) => [part, version]))
}

const latest = Object.fromEntries(migrationParts().map(({ part, version }) => [part, version]))

describe('printMigrations', () => {
  test('makes all that the parts make: they find nothing left to do', async () => {
    await database.exec(printMigrations({ schema: 'printed', partitions: 3, service: 'shop' }))
    expect(await versions('printed')).toEqual(latest)
    await createOutbox({ sql: readOnly, service: 'shop', schema: 'printed', partitions: 3 }).migrate()
    await createInbox({ sql: readOnly, schema: 'printed' }).migrate()
    await createFence({ sql: readOnly, schema: 'printed' }).migrate()
    await postgresLocks({ sql: readOnly, schema: 'printed' }).migrate()
    await postgresStateStore({ sql: readOnly, schema: 'printed' }).migrate()
    await migrateParticipant(readOnly, 'printed')
  })

  test('prints one part, and above a version only what follows', async () => {
    await database.exec(printMigrations({ schema: 'halves', parts: ['saga'] }))
    expect(await versions('halves')).toEqual({ saga: latest['saga'] })
    expect(printMigrations({ above: latest })).toBe('')
    asNextRelease('saga')
    const later = printMigrations({ parts: ['saga'], above: { saga: 1 } })
    expect(later).not.toContain('saga, version 1')
    expect(later).toContain('saga, version 2')
  })

  test.each([
    [{ parts: ['sagas'] }, /printMigrations\.parts: expected one of outbox, inbox, saga/],
    [{ above: { nothing: 1 } }, /printMigrations\.above: expected one of/],
    [{ above: { saga: -1 } }, /printMigrations\.above\.saga/],
    [{ service: '' }, /printMigrations\.service/],
    [{ partitions: 0 }, /printMigrations\.partitions/],
    [{ schema: '' }, /expected 1 to 63 bytes/],
    [{ shema: 'x' } as object, /printMigrations\.shema/],
  ])('refuses %j', (options, message) => {
    expect(() => printMigrations(options)).toThrow(message)
  })
})

test('printGrants quotes the role and the schema', () => {
  expect(printGrants({ role: 'a"b', schema: 'S' })).toContain('GRANT USAGE ON SCHEMA "S" TO "a""b";')
  // @ts-expect-error -- the role is missing
  expect(() => printGrants({})).toThrow(/printGrants\.role/)
})

const COMMAND = ['--conditions=concordat-source', 'packages/cli/commands/main.ts']

describe('concordat migrate', () => {
  const run = (...args: string[]) =>
    promisify(execFile)(process.execPath, [...COMMAND, ...args]).then(
      ({ stdout }) => ({ stdout, stderr: '', code: 0 }),
      (error: { stdout: string; stderr: string; code: number }) => error,
    )

  test('print prints what printMigrations returns', async () => {
    const { stdout } = await run('migrate', 'print', '--schema', 'shop', '--part', 'saga', '--above', 'saga=2')
    expect(stdout).toBe(printMigrations({ schema: 'shop', parts: ['saga'], above: { saga: 2 } }))
  })

  test('grants prints what printGrants returns', async () => {
    const { stdout } = await run('migrate', 'grants', '--role', 'shop')
    expect(stdout).toBe(printGrants({ role: 'shop' }))
  })

  test.each([
    [['migrate', 'prnt'], 'concordat: unknown command "migrate prnt": did you mean "migrate print"?'],
    [['migrate', 'grants'], 'concordat: migrate grants needs --role NAME'],
    [['migrate', 'print', '--partitions', 'four'], '--partitions: expected a whole number, got "four"'],
    [['migrate', 'print', '--part', 'sagas'], 'printMigrations.parts: expected one of'],
    [['migrate', 'print', '--shema', 'x'], "unknown option '--shema': did you mean --schema?"],
  ])('%j is one line and exit code 2', async (args, message) => {
    const { code, stderr, stdout } = await run(...args)
    expect(code).toBe(2)
    expect(stdout).toBe('')
    expect(stderr).toContain(message)
    expect(stderr.trimEnd().split('\n')).toHaveLength(1)
  })

  test.skipIf(process.platform !== 'linux')('print fails when its file takes no more of it', () => {
    const full = openSync('/dev/full', 'w')
    onTestFinished(() => closeSync(full))
    const { status, stderr } = spawnSync(process.execPath, [...COMMAND, 'migrate', 'print'], {
      stdio: ['ignore', full, 'pipe'],
      encoding: 'utf8',
    })
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: expect.stringMatching(/^concordat: the output was not written: ENOSPC/),
    })
  })

  test('a reader that goes away early leaves the exit code of the command', async () => {
    const child = spawn(process.execPath, [...COMMAND, 'migrate', 'status'], {
      env: { ...process.env, CONCORDAT_POSTGRES: 'postgres://nobody@127.0.0.1:1/none' },
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    child.stdout.destroy()
    expect((await once(child, 'exit'))[0]).toBe(3)
  })

  test('status ends with exit code 1 where no table is there, as where some are to be migrated', async () => {
    await database.exec(printMigrations({ schema: 'one_part', parts: ['saga'] }))
    const status = MIGRATE_COMMANDS.find(({ name }) => name === 'migrate status')
    const inSchema = (schema: string) => {
      const operator = async () => createOperator({ sql, schema })
      const asked = { values: {}, positionals: [], schema, operator, schemas: async () => ['one_part'] }
      return status?.run(asked as unknown as Invocation)
    }
    expect(await inSchema('one_part')).toMatchObject({ code: 0 })
    expect(await inSchema('mistyped')).toMatchObject({
      code: 1,
      text: expect.stringContaining('They are in "one_part"'),
    })
  })

  test('apply names the parts that it will make, and those that it leaves out', async () => {
    const apply = MIGRATE_COMMANDS.find(({ name }) => name === 'migrate apply')
    const inSchema = async (schema: string, part?: readonly string[]) => {
      let plan = ''
      const confirm = async (shown: string) => {
        plan = shown.split('\n').at(-1) ?? ''
        return true
      }
      const values = { reason: 'first', part }
      const asked = { values, positionals: [], schema, user: 'ada', confirm, schemas: async () => [], env: {} }
      const outcome = await apply?.run({
        ...asked,
        operator: async () => createOperator({ sql, schema }),
      } as unknown as Invocation)
      return { plan, text: outcome?.text }
    }
    expect(await inSchema('applied', ['operator'])).toMatchObject({ plan: 'operator will be migrated.' })
    expect(await inSchema('applied')).toEqual({
      plan: 'Nothing of them is to be migrated.',
      text: expect.stringMatching(/Not made, since .*: outbox, inbox, .* --part NAME\n$/),
    })
    await inSchema('applied', ['saga'])
    expect(await inSchema('applied')).toMatchObject({ plan: 'Nothing of them is to be migrated.' })
    const { plan, text } = await inSchema('applied whole')
    expect(plan).toMatch(/^outbox, inbox, saga, .* operator will be migrated\.$/)
    expect(text).not.toContain('Not made')
  })

  test('help lists the commands', async () => {
    const { stdout } = await run('--help')
    expect(stdout).toContain('migrate print')
    expect((await run()).stdout).toBe(stdout)
  })
})

test('tables of a later release are refused by every part, and by a service that only checks', async () => {
  for (const { part } of migrationParts()) {
    const schema = `newer ${part}`
    await database.exec(printMigrations({ schema }))
    await sql.query(`INSERT INTO "${schema}".concordat_migration (part, version, works_with) VALUES ($1, 99, 99)`, [
      part,
    ])
  }
  const refused = { code: 'core.sql_version', found: 99 }
  const outbox = createOutbox({ sql, service: 'shop', schema: 'newer outbox' })
  await expect(outbox.migrate()).rejects.toMatchObject(refused)
  await expect(outbox.ready?.()).rejects.toMatchObject(refused)
  const inbox = createInbox({ sql, schema: 'newer inbox' })
  await expect(inbox.migrate()).rejects.toMatchObject(refused)
  await expect(inbox.ready?.()).rejects.toMatchObject(refused)
  await expect(migrateParticipant(sql, 'newer saga-participant')).rejects.toMatchObject(refused)
  await expect(createFence({ sql, schema: 'newer locks' }).migrate()).rejects.toMatchObject(refused)
  await expect(postgresLocks({ sql, schema: 'newer lock-store' }).migrate()).rejects.toMatchObject(refused)
  await expect(postgresStateStore({ sql, schema: 'newer cluster' }).migrate()).rejects.toMatchObject(refused)
  await expect(migrate(sql, 'newer saga', 'saga', [{ version: 1, statements: [] }])).rejects.toMatchObject(refused)
})
