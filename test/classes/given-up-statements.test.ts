/**
 * A statement that the pool's `query_timeout` ends, for which `pg` has an error without a code, or the server's
 * `statement_timeout`. A statement of the package, sent by whatever part, uses no attempt up. A handler's own one does.
 */
import { type BinderOptions, createBinder, defineChannel, sink, sinkBatch } from 'concordat/binder'
import { type SqlClient, silentLogger } from 'concordat/core'
import { createInbox, createOutbox, type Outbox, type SqlInbox } from 'concordat/outbox'
import { postgresTransport } from 'concordat/postgres'
import { defineSaga } from 'concordat/saga'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { uniqueName } from '../outbox/support/messages.ts'
import { closeEmbedded, embedded, FAST, openEmbedded, setupWorld, stockCommands } from '../saga/support/world.ts'
import { refusingSql } from '../support/refusing-sql.ts'
import { until } from '../support/until.ts'

beforeAll(openEmbedded, 120_000)
afterAll(closeEmbedded)

const TIMES = 3
const payload = z.number()
const numbers = defineChannel('numbers', { payload, groups: ['g'], partitions: 1, transactional: true })
const inLog = defineChannel('others', { payload, groups: [], partitions: 1, transactional: true })
const elsewhere = defineChannel('elsewhere', { payload })
/** The first attempt that counts is the last one. */
const OPTIONS = { group: 'g', maxAttempts: 1, backoff: { initialMs: 1, maxMs: 1 } } as const

const BY_DRIVER = (): Error => new Error('Query read timeout')
const BY_SERVER = (): Error =>
  Object.assign(new Error('canceling statement due to statement timeout'), { code: '57014' })
const GIVE_UPS = [
  ['the driver', BY_DRIVER],
  ['the server', BY_SERVER],
] as const

/** A database whose next statements that match are given up, from `begin` on. */
function givingUp(statement: RegExp, giveUp = BY_DRIVER) {
  let left = 0
  let given = 0
  const sql = refusingSql(embedded(), (text) => {
    if (left === 0 || !statement.test(text)) return undefined
    left--
    given++
    return giveUp()
  })
  return { sql, begin: (): void => void (left = TIMES), given: (): number => given }
}

type Binding = NonNullable<BinderOptions['bindings']>[number]

interface Parts {
  readonly sql: SqlClient
  readonly inbox: SqlInbox
  /** Writes into its table. */
  readonly outbox: Outbox
  /** Writes into the log. */
  readonly log: Outbox
}

/** A message for a group whose database gives up the statements of `begin`. */
async function setup(statement: RegExp, bind: (parts: Parts) => Binding, giveUp = BY_DRIVER) {
  const schema = uniqueName('given_up')
  const database = givingUp(statement, giveUp)
  const { sql } = database
  const transport = postgresTransport({ sql, schema, pollMs: 20 })
  const log = createOutbox({ sql, service: 's', schema, transport })
  const outbox = createOutbox({ sql, service: 's', schema })
  const inbox = createInbox({ sql, schema })
  await outbox.migrate()
  await inbox.migrate()
  const binding = bind({ sql, inbox, outbox, log })
  const binder = createBinder({ service: 's', transport, bindings: [binding], sends: [inLog], logger: silentLogger })
  onTestFinished(() => binder.close())
  await binder.start()
  await binder.ready()
  const control = binder.binding('numbers.g')
  control.pause()
  await sql.transaction((tx) => log.add(tx, numbers, 1))
  database.begin()
  control.resume()
  await until('it came to an end', () => control.status().handled + control.status().deadLettered === 1)
  return { handled: control.status().handled, given: database.given() }
}

const INBOX = /INSERT INTO \S+\.inbox /

const STATEMENTS: ReadonlyArray<readonly [string, RegExp, (parts: Parts) => Binding]> = [
  ['the inbox of a sink', INBOX, ({ inbox }) => sink(numbers, { ...OPTIONS, inbox }, () => {})],
  ['the inbox of a batch', INBOX, ({ inbox }) => sinkBatch(numbers, { ...OPTIONS, inbox }, () => {})],
  [
    'the outbox, for a message of a handler',
    /\.outbox_add\(/,
    ({ inbox, outbox }) =>
      sink(numbers, { ...OPTIONS, inbox }, async (n, { tx }) => void (await outbox.add(tx, elsewhere, n))),
  ],
  [
    'the log, for a message of a handler',
    /INSERT INTO \S+\.transport_log /,
    ({ inbox, log }) => sink(numbers, { ...OPTIONS, inbox }, async (n, { tx }) => void (await log.add(tx, inLog, n))),
  ],
  [
    'the position of a sink that settles in its transaction',
    /AS w\(grp, part, ver, epoch, owner, settled, done\)/,
    ({ sql }) => sink(numbers, { ...OPTIONS, settlesIn: sql }, () => {}),
  ],
]

describe.each(GIVE_UPS)('when %s gives it up', (_, giveUp) => {
  test.each(STATEMENTS)('a statement of %s is no attempt', async (_name, statement, bind) => {
    expect(await setup(statement, bind, giveUp)).toEqual({ handled: 1, given: TIMES })
  })

  test('a handler’s own statement is an attempt', async () => {
    const bind = ({ inbox }: Parts): Binding =>
      sink(numbers, { ...OPTIONS, inbox }, async (_payload, { tx }) => void (await tx.query('SELECT 1 AS slow')))
    expect(await setup(/slow/, bind, giveUp)).toEqual({ handled: 0, given: 1 })
  })
})

test.each(
  GIVE_UPS.flatMap(([by, giveUp]) => [
    ['the barrier', by, /INSERT INTO \S+\.saga_barrier /, giveUp] as const,
    ['the outbox, for the reply', by, /\.outbox_add\(/, giveUp] as const,
  ]),
)('a statement of %s of a participant is no attempt when %s gives it up', async (_, _by, statement, giveUp) => {
  const database = givingUp(statement, giveUp)
  const saga = defineSaga('s', { version: 1, input: z.object({}) }).command('c', {
    to: stockCommands,
    request: () => ({ sku: 'apple', n: 1 }),
    compensate: true,
    retry: { maxAttempts: 1, ...FAST },
  })
  const world = await setupWorld({ sagas: [saga], stockSql: database.sql, participantAttempts: 1 })
  onTestFinished(() => world.close())
  await world.start()
  database.begin()
  const run = await world.coordinator.start(saga, { id: '1', input: {} })
  expect((await run.outcome({ timeoutMs: 30_000 })).status).toBe('completed')
  expect([database.given(), world.stock().status().deadLettered]).toEqual([TIMES, 0])
})
