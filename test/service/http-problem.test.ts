import { ConcordatError } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { LockError } from 'concordat/locks'
import { memoryTransport } from 'concordat/memory'
import { Refusal } from 'concordat/saga'
import { createService, httpProblem, ServiceClosed, ServiceNotReady } from 'concordat/service'
import pg from 'pg'
import { expect, onTestFinished, test } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- internal
import { fromOwnStatement } from '../../core/own-statements.ts'
// oxlint-disable-next-line no-restricted-imports -- internal
import { fromDriver } from '../../core/sql-unavailable.ts'

class Odd extends ConcordatError {
  readonly code: string
  readonly retryable: boolean
  constructor(code: string, retryable: boolean) {
    super('postgres://u:secret@h')
    this.code = code
    this.retryable = retryable
  }
}

test.each([
  [new Odd('core.schema', false), 400, false],
  [new Odd('saga.not_found', false), 404, false],
  [new Odd('tokens.refused', false), 403, false],
  [new Odd('pipeline.window_invalid', false), 500, false],
  [new LockError('locks.busy', { key: 'sku:1', owner: undefined, retryAfterMs: 100 }), 409, true],
  [new Odd('outbox.too_large', false), 413, false],
  [new ServiceNotReady('shop', 'starting', []), 503, true],
  [new ServiceClosed('shop'), 503, true],
  [new Odd('binder.send', true), 503, true],
  [new Odd('binder.send', false), 500, false],
])('%s is an answer, without its message', (error, status, retryable) => {
  const problem = httpProblem(error)
  expect(problem).toEqual({
    status,
    headers: retryable ? { 'retry-after': '1' } : {},
    body: { error: { code: (error as ConcordatError).code, retryable } },
  })
  expect(JSON.stringify(problem)).not.toContain('secret')
})

test.each([undefined, 'text', new Error('x'), new Refusal('payments.declined', 'no'), { code: 'core.schema' }])(
  'foreign errors stay with the caller: %s',
  (error) => expect(httpProblem(error)).toBeUndefined(),
)

const AWAY = {
  status: 503,
  headers: { 'retry-after': '1' },
  body: { error: { code: 'service.database_unavailable', retryable: true } },
}
const coded = (code: string, fields: object = {}): Error =>
  Object.assign(new Error('the database system is starting up at 10.0.0.7'), { code, ...fields })

test('a transaction of a service whose database refuses connections answers 503, without its address', async () => {
  const pool = new pg.Pool({ connectionString: 'postgres://u:secret@127.0.0.1:1/x' })
  onTestFinished(() => pool.end())
  const shop = createService({ name: 'shop', sql: pgClient(pool), transport: memoryTransport() })
  const error: unknown = await shop.transaction(async (tx) => tx.query('SELECT 1')).catch((thrown: unknown) => thrown)
  expect(httpProblem(error)).toEqual(AWAY)
})

test.each([
  ['a server that starts', coded('57P03')],
  ['a server that shuts down', coded('57P01')],
  ['too many connections', coded('53300')],
  ['a server that only reads', coded('25006')],
  ['a reset connection', fromDriver(coded('ECONNRESET'))],
  ['a connection that ended', new Error('Connection terminated unexpectedly')],
  ['no free connection in the pool', new Error('timeout exceeded when trying to connect')],
  ['a COMMIT without an answer', fromOwnStatement(fromDriver(new Error('Query read timeout')))],
  ['the wrapper of a library', new Error('Failed query: select 10.0.0.7', { cause: coded('57P01') })],
])('a database that is away answers 503, from %s', (_, error) => {
  expect(httpProblem(error)).toEqual(AWAY)
})

test.each([
  ['a missing right', fromDriver(coded('42501', { routine: 'aclcheck_error' }))],
  ['a conflict', coded('40001')],
  ['a slow statement of the caller', fromDriver(new Error('Query read timeout'))],
  ['a cancelled statement', coded('57014')],
  ['a socket of another client', coded('ECONNREFUSED')],
  ['an error with a status of its own', Object.assign(new Error('x', { cause: coded('57P01') }), { status: 404 })],
  ['a refusal of the caller', new Refusal('payments.declined', 'no', { cause: coded('57P01') })],
])('%s is no database that is away', (_, error) => {
  expect(httpProblem(error)).toBeUndefined()
})
