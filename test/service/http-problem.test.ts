import { ConcordatError } from 'concordat/core'
import { LockError } from 'concordat/locks'
import { Refusal } from 'concordat/saga'
import { httpProblem, ServiceClosed, ServiceNotReady } from 'concordat/service'
import { expect, test } from 'vitest'

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
