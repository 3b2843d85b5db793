/**
 * A command waits for an unavailable MariaDB, and no attempt is counted. A pool that behaves like mysql2 takes the place of the
 * server.
 */
import { type MysqlConnection, mysqlResource } from '@concordat/mysql'
import { expect, test, vi } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- inside of the core: the classifier has no public name
import { writeFault } from '../../../core/write-fault.ts'

const refused = (): Error => Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED', fatal: true })
const lost = (): Error => Object.assign(new Error('Connection lost'), { code: 'PROTOCOL_CONNECTION_LOST', fatal: true })
const numbered = (errno: number, message: string): Error => Object.assign(new Error(message), { errno })
const call = { whose: 'concordat:x:', gid: 'concordat:x:1:a/b/c', key: 'a/b/c', lockTimeoutMs: 1_000, idleMs: 60_000 }

type Run = (text: string) => unknown

function resourceOn(run: Run, answerMs = 30_000) {
  const answer: MysqlConnection['query'] = async (statement) => {
    const text = typeof statement === 'string' ? statement : statement.sql
    const known = await run(text)
    if (known !== undefined && known !== false) return [known, []]
    if (text.includes('GET_LOCK')) return [[{ claimed: 1, rowLocks: 50, tableLocks: 50, silence: 28_800 }], []]
    return [text.startsWith('SELECT gid') ? [{ gid: null }] : [{ holder: null }], []]
  }
  const connection = { query: answer, execute: answer, end: async () => {}, release: () => {}, destroy: () => {} }
  return mysqlResource({ getConnection: async () => connection }, { answerMs })
}

const faultOf = (work: Promise<unknown>) =>
  work.then(
    () => expect.fail('nothing was thrown'),
    (error: unknown) => writeFault(error),
  )

test('no connection can be made', async () => {
  const down = mysqlResource({ getConnection: () => Promise.reject(refused()) })
  expect(await faultOf(down.committed('concordat:x:'))).toBe('unavailable')
})

test.each<readonly [string, () => Error]>([
  ['its connection is lost', lost],
  ['it only reads', () => numbered(1290, 'The MariaDB server is running with the --read-only option')],
])('a statement fails since %s', async (_, error) => {
  const resource = resourceOn((text) => text.includes('XA RECOVER') && Promise.reject(error()))
  expect(await faultOf(resource.look('concordat:x:'))).toBe('unavailable')
})

test('its answer does not come', async () => {
  const resource = resourceOn(() => new Promise(() => {}), 5)
  const error: unknown = await resource.look('concordat:x:').catch((thrown: unknown) => thrown)
  expect(error).toMatchObject({ code: 'saga.mysql_unanswered' })
  expect(writeFault(error)).toBe('unavailable')
})

const prepare = (resource: ReturnType<typeof resourceOn>, before: () => void = () => {}) =>
  resource.prepare({ ...call, isCurrent: async () => true }, async (tx) => {
    before()
    await tx.query('UPDATE stock')
  })

test('the connection of a handler is lost', async () => {
  const resource = resourceOn((text) => text === 'UPDATE stock' && Promise.reject(lost()))
  expect(await faultOf(prepare(resource))).toBe('unavailable')
})

test('a statement of a handler that takes too long is an attempt', async () => {
  const resource = resourceOn((text) => (text === 'UPDATE stock' ? new Promise(() => {}) : undefined), 5)
  expect(await faultOf(prepare(resource))).toBeUndefined()
})

test('an error of the handler or of its statement says nothing of the server', async () => {
  const duplicate = resourceOn((text) => text === 'UPDATE stock' && Promise.reject(numbered(1062, 'Duplicate entry')))
  expect(await faultOf(prepare(duplicate))).toBeUndefined()
  const other = resourceOn(() => undefined).prepare({ ...call, isCurrent: async () => true }, () =>
    Promise.reject(refused()),
  )
  expect(await faultOf(other)).toBeUndefined()
})

test('the server ends the session of a handler that said nothing for too long: that is an attempt', async () => {
  const now = vi.spyOn(performance, 'now')
  try {
    const resource = resourceOn((text) => text === 'UPDATE stock' && Promise.reject(lost()))
    const beganAt = performance.now()
    const silent = prepare(resource, () => now.mockImplementation(() => beganAt + 3_600_000))
    expect(await faultOf(silent)).toBeUndefined()
  } finally {
    now.mockRestore()
  }
})
