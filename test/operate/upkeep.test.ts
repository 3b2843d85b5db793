import { createOperator, type DoctorLine } from '@concordat/cli'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { quoteIdentifier, type SqlClient, silentLogger } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { memoryTransport } from 'concordat/memory'
import { printMigrations } from 'concordat/operator'
import { createInbox, createOutbox } from 'concordat/outbox'
import { postgresTransport } from 'concordat/postgres'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { asNextRelease } from '../support/next-release.ts'
import { freshPglite } from '../support/pglite.ts'
import { refusingSql } from '../support/refusing-sql.ts'
import { until } from '../support/until.ts'

const database = freshPglite()
const sql = pgliteClient(database)
beforeAll(() => database.waitReady, 180_000)
afterAll(() => database.close())

const placed = defineChannel('orders.placed', { payload: z.object({ n: z.number() }), key: () => 'k' })
const note = { by: 'ann', reason: 'looked at it' }
let schemas = 0

async function setup() {
  const schema = `operate_${++schemas}`
  const operator = createOperator({ sql, schema })
  await operator.migrate({ ...note, partitions: 2 })
  return { schema, quoted: quoteIdentifier(schema), operator }
}

/** A schema with one message that is parked. */
async function withParked() {
  const world = await setup()
  const outbox = createOutbox({ sql, service: 'shop', schema: world.schema, partitions: 2 })
  const { id } = await sql.transaction((tx) => outbox.add(tx, placed, { n: 1 }))
  await sql.query(
    `UPDATE ${world.quoted}.outbox SET next_attempt_at = 'infinity', parked_at = now(), attempts = 5, last_error = 'no topic'`,
  )
  return { ...world, id }
}

const of = (lines: readonly DoctorLine[], check: string): readonly DoctorLine[] =>
  lines.filter((line) => line.check === check)

describe('outbox', () => {
  test('lists what is parked without its payload, and lets it be tried again', async () => {
    const { operator, id } = await withParked()
    expect(await operator.outbox.stats()).toMatchObject({ pending: 1, parked: 1 })
    const [line] = await operator.outbox.parked()
    expect(line).toMatchObject({ id, destination: 'orders.placed', key: 'k', attempts: 5, lastError: 'no topic' })
    expect(line).not.toHaveProperty('body')
    expect(await operator.outbox.retry(id, note)).toBe(true)
    expect(await operator.outbox.retry('none', note)).toBe(false)
    expect(await operator.outbox.stats()).toMatchObject({ pending: 1, parked: 0 })
  })

  test('lists failing and parked messages with the size of their bodies, and reads no body', async () => {
    const { schema, quoted, id } = await withParked()
    const read: object[] = []
    const client: SqlClient = {
      ...sql,
      query: async <Row extends object>(text: string, parameters?: readonly unknown[]) => {
        const result = await sql.query<Row>(text, parameters)
        read.push(...result.rows)
        return result
      },
    }
    const { outbox } = createOperator({ sql: client, schema })
    const { rows } = await sql.query<{ n: number }>(`SELECT length(payload) AS n FROM ${quoted}.outbox`)
    const bytes = rows[0]?.n ?? 0
    const line = {
      id,
      destination: 'orders.placed',
      source: 'shop',
      key: 'k',
      bytes,
      attempts: 5,
      lastError: 'no topic',
    }
    const addedAt = expect.any(Number) as number
    expect(bytes).toBeGreaterThan(0)
    expect(await outbox.parked()).toEqual([{ ...line, addedAt, parkedAt: expect.any(Number) }])
    await sql.query(`UPDATE ${quoted}.outbox SET parked_at = NULL, next_attempt_at = now() + interval '1 minute'`)
    expect(await outbox.failing()).toEqual([{ ...line, addedAt, nextAttemptAt: expect.any(Number) }])
    expect(read).toHaveLength(2)
    expect(
      read.filter((row) => 'payload' in row || Object.values(row).some((each) => each instanceof Uint8Array)),
    ).toEqual([])
  })

  test('keeps who dropped a message and why in the audit', async () => {
    const { operator, id } = await withParked()
    expect(await operator.outbox.drop(id, note)).toBe(true)
    expect(await operator.outbox.stats()).toMatchObject({ pending: 0 })
    const audit = await operator.audit()
    expect(audit[0]).toMatchObject({ part: 'outbox', action: 'drop', target: id, ...note })
    expect(await operator.audit({ before: audit[0]?.at ?? 0 })).toHaveLength(audit.length - 1)
  })

  test('says which tables are missing', async () => {
    const operator = createOperator({ sql, schema: 'empty' })
    await expect(operator.outbox.stats()).rejects.toMatchObject({ code: 'core.tables_missing' })
    await expect(operator.sagas.list()).rejects.toMatchObject({ code: 'core.tables_missing' })
    await expect(operator.inboxes()).rejects.toMatchObject({ code: 'core.tables_missing' })
    expect(await operator.audit()).toEqual([])
  })
})

test('who migrated tables and why is in the audit, once for each part', async () => {
  const operator = createOperator({ sql, schema: 'migrated' })
  const who = { by: 'ann', reason: 'first release' }
  await operator.migrate({ ...who, parts: ['outbox'] })
  expect(await operator.audit(), 'without its table').toEqual([])
  await operator.migrate({ ...who, parts: ['operator', 'saga'] })
  await operator.migrate({ ...who, reason: 'nothing to do' })
  const lines = await operator.audit()
  const line = { part: 'tables', action: 'migrate', outcome: 'version 1', ...who }
  expect(lines.toSorted((a, b) => a.target.localeCompare(b.target))).toMatchObject(
    ['operator', 'saga'].map((target) => ({ ...line, target })),
  )
})

/** A database that refuses to make the table of the inbox. */
const withoutInbox = refusingSql(sql, (text) =>
  /CREATE TABLE .*\.inbox /.test(text) ? new Error('disk full') : undefined,
)

test('a migration that fails midway leaves the lines of the parts that it changed before', async () => {
  const schema = 'half_migrated'
  await createOperator({ sql, schema }).migrate({ ...note, parts: ['operator', 'saga'] })
  asNextRelease('saga')
  const operator = createOperator({ sql: withoutInbox, schema, logger: silentLogger })
  const who = { by: 'bob', reason: 'second release' }
  await expect(operator.migrate({ ...who, parts: ['outbox', 'saga', 'inbox'] })).rejects.toThrow('disk full')
  const lines = (await operator.audit()).filter(({ by }) => by === 'bob')
  expect(lines.toReversed()).toMatchObject([
    { part: 'tables', action: 'migrate', target: 'outbox', outcome: 'version 1', ...who },
    { part: 'tables', action: 'migrate', target: 'saga', outcome: 'version 2', ...who },
  ])
})

test('a first migration that fails midway has lines too: it makes the table of the audit first', async () => {
  const schema = 'half_made'
  const operator = createOperator({ sql: withoutInbox, schema, logger: silentLogger })
  await expect(operator.migrate({ ...note, parts: ['saga', 'inbox', 'operator'] })).rejects.toThrow('disk full')
  expect((await operator.audit()).map(({ target }) => target).toReversed()).toEqual(['operator', 'saga'])
})

test('a first migration of all parts that fails midway leaves none, and the next one makes all', async () => {
  const schema = 'none_made'
  const cutOff = createOperator({ sql: withoutInbox, schema, logger: silentLogger })
  await expect(cutOff.migrate(note)).rejects.toThrow('disk full')
  const states = await createOperator({ sql, schema, logger: silentLogger }).migrate(note)
  expect(states.filter(({ state }) => state !== 'current')).toEqual([])
})

test('inboxes are counted by consumer and channel', async () => {
  const { operator, schema, quoted } = await setup()
  await createInbox({ sql, schema }).migrate()
  await sql.query(`INSERT INTO ${quoted}.inbox (consumer, channel, source, message_id)
    VALUES ('stock', 'orders', 's', '1'), ('stock', 'orders', 's', '2'), ('mail', 'orders', 's', '1')`)
  const counts = await operator.inboxes()
  expect(counts.map(({ consumer, messages }) => [consumer, messages])).toEqual([
    ['mail', 1],
    ['stock', 2],
  ])
})

describe('migrations', () => {
  test('applies what is missing of the parts that are there, and the table of the operator', async () => {
    const schema = 'halves'
    await database.exec(printMigrations({ schema, parts: ['saga'] }))
    asNextRelease('saga')
    const operator = createOperator({ sql, schema })
    const state = async () => Object.fromEntries((await operator.migrations()).map((line) => [line.part, line.state]))
    expect(await state()).toMatchObject({ saga: 'behind', outbox: 'absent' })
    await operator.migrate(note)
    expect(await state()).toMatchObject({ saga: 'current', operator: 'current', outbox: 'absent' })
    await operator.migrate({ ...note, parts: ['inbox'] })
    expect(await state()).toMatchObject({ inbox: 'current', outbox: 'absent' })
    await expect(operator.migrate({ ...note, parts: ['sagas'] })).rejects.toThrow('migrate.parts')
    await expect(operator.migrate({ ...note, parts: 'all' as never })).rejects.toThrow(
      /^migrate\.parts: expected a list/,
    )
  })

  test('makes an outbox that its service takes as its own', async () => {
    const { schema } = await setup()
    await createOutbox({ sql, service: 'shop', schema, partitions: 2 }).migrate()
    const other = createOutbox({ sql, service: 'other', schema, partitions: 2 })
    await expect(other.ready()).rejects.toMatchObject({ code: 'outbox.owner' })
  })
})

describe('doctor', () => {
  test('finds nothing wrong with fresh tables', async () => {
    const { operator } = await setup()
    const { status, lines } = await operator.doctor()
    expect(lines.filter((line) => line.status !== 'ok')).toEqual([])
    expect(status).toBe('ok')
    expect(new Set(lines.map(({ check }) => check))).toEqual(
      new Set([
        'connection',
        'server',
        'writable',
        'isolation',
        'prepared',
        'clock',
        'tables',
        'schemas',
        'rights',
        'sagas',
        'parked',
        'outbox',
        'groups',
        'sequences',
      ]),
    )
  })

  test('names the other schemas, and advises commands for the one that was looked at', async () => {
    const other = await setup()
    const { operator, schema } = await withParked()
    const { lines } = await operator.doctor()
    expect(of(lines, 'schemas')).toMatchObject([
      { status: 'ok', text: expect.stringContaining(`--schema ${other.schema}`) },
    ])
    expect(of(lines, 'schemas')[0]?.text).not.toContain(`--schema ${schema},`)
    expect(of(lines, 'parked')).toMatchObject([{ remedy: `npx concordat outbox list --schema ${schema}` }])
  })

  test('warns of what waits for a person in the schema of another service', async () => {
    const [{ operator }, other] = [await setup(), await setup()]
    const line = `"${other.schema}" has stuck sagas`
    const schemas = async () => of((await operator.doctor()).lines, 'schemas')
    expect(await schemas()).not.toContainEqual(expect.objectContaining({ text: line }))
    await sql.query(`INSERT INTO ${other.quoted}.saga (name, id, version, graph_hash, birth, status, state, input, input_hash)
      VALUES ('buy', '1', 1, 'h', 'b', 'stuck', '{"steps":[]}', '{}', 'h')`)
    const remedy = `npx concordat doctor --schema ${other.schema}`
    expect(await schemas()).toContainEqual({ check: 'schemas', status: 'warn', text: line, remedy })
    await sql.query(`ALTER TABLE ${other.quoted}.saga RENAME COLUMN status TO state_of_it`)
    const text = `"${other.schema}" has tables that this release cannot read`
    expect(await schemas()).toContainEqual({ check: 'schemas', status: 'unknown', text, remedy })
    await sql.query(`DROP SCHEMA ${other.quoted} CASCADE`)
  })

  test('warns of parked and old messages, with the command that shows them', async () => {
    const { operator, quoted } = await withParked()
    await sql.query(`INSERT INTO ${quoted}.outbox (partition, id, aggregatetype, type, source, content_type, time)
      VALUES (0, 'old', 'd', 't', 's', '', 0)`)
    await sql.query(`UPDATE ${quoted}.outbox SET added_at = now() - interval '3 hours'`)
    const { status, lines } = await operator.doctor()
    expect(status).toBe('warn')
    expect(of(lines, 'parked')).toMatchObject([
      { status: 'warn', remedy: expect.stringContaining('npx concordat outbox list') },
    ])
    expect(of(lines, 'outbox')).toMatchObject([
      {
        status: 'warn',
        text: '2 pending, 1 of them parked, the oldest 3 h',
        remedy: expect.stringContaining('parked first'),
      },
    ])
  })

  test('warns of a message that fails again and again while it is young, without its error, which may hold values', async () => {
    const { operator, quoted } = await withParked()
    await sql.query(`UPDATE ${quoted}.outbox SET parked_at = NULL, next_attempt_at = now() + interval '1 minute'`)
    const { lines } = await operator.doctor()
    expect(of(lines, 'outbox')).toMatchObject([
      { status: 'warn', text: 'publishing to orders.placed failed 5 times' },
      { status: 'ok' },
    ])
    expect(await operator.outbox.failing()).toMatchObject([{ destination: 'orders.placed', lastError: 'no topic' }])
    expect(await operator.outbox.parked()).toEqual([])
  })

  test('warns of stuck sagas, and of those that no coordinator takes', async () => {
    const { operator, quoted } = await setup()
    await sql.query(`INSERT INTO ${quoted}.saga (name, id, version, graph_hash, birth, status, state, input, input_hash, due_at)
      VALUES ('buy', '1', 1, 'h', 'b1', 'stuck', '{"steps":[]}', '{}', 'h', NULL),
             ('buy', '2', 1, 'h', 'b2', 'running', '{"steps":[]}', '{}', 'h', now() - interval '1 hour')`)
    const { lines } = await operator.doctor()
    expect(of(lines, 'sagas')).toMatchObject([
      { status: 'warn', remedy: expect.stringContaining('npx concordat saga list --status stuck') },
      { status: 'warn', text: expect.stringContaining('1 wait for a coordinator, 60 min overdue') },
    ])
  })

  test('warns of a group that is behind and has no reader', async () => {
    const { operator, quoted: s } = await setup()
    await sql.query(`INSERT INTO ${s}.transport_partition (destination, n) VALUES ('orders', 0)`)
    await sql.query(`INSERT INTO ${s}.transport_group (destination, name) VALUES ('orders', 'stock')`)
    await sql.query(`INSERT INTO ${s}.transport_tick VALUES (1, 0, 12, '1:1:', '{}', '{}', '{}')`)
    await sql.query(`INSERT INTO ${s}.transport_progress VALUES (1, 1, 1, 1, NULL, 5, 5, '{6}')`)
    const behind = of((await operator.doctor()).lines, 'groups')
    expect(behind).toMatchObject([{ status: 'warn', text: 'orders.stock is 6 behind, and no instance reads it' }])
  })

  test('warns of dead letters in the log of the database, with the command that lists them', async () => {
    const { operator, schema } = await setup()
    const stock = sink(placed, { group: 'stock', maxAttempts: 1 }, () => {
      throw new Error('closed')
    })
    const transport = postgresTransport({ sql, schema })
    const binder = createBinder({ service: 'shop', transport, bindings: [stock], logger: silentLogger })
    await binder.start()
    await binder.send(placed, { n: 1 })
    const letters = async () => of((await operator.doctor()).lines, 'letters')
    await until('it is a dead letter', async () => (await letters()).length > 0)
    expect(await letters()).toMatchObject([{ status: 'warn', text: '1 dead letter of orders.placed.stock' }])
    expect((await letters())[0]?.remedy).toBe(`npx concordat dlq list orders.placed stock --schema ${schema}`)
    await binder.close()
  })

  test('fails for tables that are missing or behind', async () => {
    const none = await createOperator({ sql, schema: 'nothing_here' }).doctor()
    expect(none.status).toBe('fail')
    expect(of(none.lines, 'tables')).toMatchObject([{ status: 'fail', text: 'no tables in schema "nothing_here"' }])
    const { operator } = await setup()
    asNextRelease('saga')
    expect(of((await operator.doctor()).lines, 'tables')).toContainEqual({
      check: 'tables',
      status: 'fail',
      text: 'saga is at version 1, this release needs 2',
      remedy: expect.stringContaining('npx concordat migrate apply --part saga --reason "upgrade"'),
    })
  })

  test('is a report also when the database does not answer', async () => {
    const away = () => Promise.reject(Object.assign(new Error(''), { code: 'ECONNREFUSED' }))
    const { status, lines } = await createOperator({ sql: { query: away, transaction: away } }).doctor()
    expect(status).toBe('fail')
    expect(lines).toMatchObject([{ check: 'connection', text: 'no answer: ECONNREFUSED' }])
  })
})

test('options are checked when it is made', () => {
  const js = (value: unknown): never => value as never
  expect(() => createOperator(js({ sql, shema: 'x' }))).toThrow('Did you mean "schema"?')
  expect(() => createOperator(js({}))).toThrow('createOperator.sql')
  expect(() => createOperator(js({ sql, transport: memoryTransport() }))).toThrow('createOperator.transport')
  expect(() => createOperator(js({ sql, locks: {} }))).toThrow('createOperator.locks')
  expect(() => createOperator(js({ sql, cluster: {} }))).toThrow('createOperator.cluster')
  expect(() => createOperator({ sql, schema: '' })).toThrow('expected 1 to 63 bytes')
})
