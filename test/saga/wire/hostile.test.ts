import { defineChannel, type Headers } from 'concordat/binder'
import type { StandardSchemaV1 } from 'concordat/core'
import { defineSaga, SAGA_HEADERS, type SagaReply, sagaReplies } from 'concordat/saga'
import { expect, test } from 'vitest'
import { z } from 'zod'
// oxlint-disable-next-line no-restricted-imports -- pure inside of the coordinator
import { replyEvent } from '../../../saga/coordinator/outcome-to-event.ts'
// oxlint-disable-next-line no-restricted-imports -- pure inside
import { readTransaction } from '../../../saga/wire/transaction-header.ts'
// oxlint-disable-next-line no-restricted-imports -- pure inside
import { readCommandHeaders } from '../../../saga/wire/wire.ts'

const REPLY = { saga: 'order', sagaId: 'o-1', step: 'pay', operation: 'invoke', status: 'failed' }
const validate = (value: unknown) => sagaReplies('shop').schema['~standard'].validate(value)

test.each([{ code: {} }, { code: 7 }, { message: ['no'] }, { sagaId: 'o\0' }, { step: '\0' }])(
  'a reply with %o is invalid: it could not be stored',
  (part) => expect(validate({ ...REPLY, ...part })).toHaveProperty('issues'),
)

test.each([{ attempt: '1' }, { attempt: [1] }, { final: 'true' }, { final: 1 }])(
  'a failed reply with %o is invalid: its saga would wait for the time limit',
  (part) => {
    expect(validate({ ...REPLY, ...part })).toHaveProperty('issues')
    expect(validate({ ...REPLY, status: 'ok', ...part })).not.toHaveProperty('issues')
  },
)

test('a foreign reply may have null for missing fields', async () => {
  const reply = { ...REPLY, code: null, message: null, attempt: null, final: null }
  expect(validate(reply)).toEqual({ value: reply })
  const event = await replyEvent({ steps: [] } as never, reply as unknown as SagaReply, 1_000)
  expect(event).toMatchObject({ type: 'failed', error: { code: 'saga.participant' } })
})

test.each([
  ['refuses its result', async () => ({ issues: [{ message: 'no' }] }), true],
  ['cannot tell now', () => Promise.reject(new Error('the catalogue is away')), false],
] as const)('a reply whose schema %s fails for good: %#', async (_, validate, terminal) => {
  const schema: StandardSchemaV1 = { '~standard': { version: 1, vendor: 'test', validate } }
  const saga = defineSaga('order', { version: 1, input: z.object({}) }).command('pay', {
    to: defineChannel('payments.commands', { payload: z.object({}) }),
    request: () => ({}),
    reply: schema,
    compensate: true,
  })
  const reply = { ...REPLY, status: 'ok', result: {}, attempt: 2 } as unknown as SagaReply
  expect(await replyEvent(saga, reply, 1_000)).toMatchObject({ type: 'failed', terminal, attempt: 2 })
})

const COMMAND: Headers = {
  [SAGA_HEADERS.saga]: 'order',
  [SAGA_HEADERS.id]: 'o-1',
  [SAGA_HEADERS.step]: 'pay',
  [SAGA_HEADERS.operation]: 'invoke',
  [SAGA_HEADERS.key]: 'order/o-1/pay',
  [SAGA_HEADERS.replyTo]: 'shop.saga-replies',
}

test('a command whose id no table can hold is invalid', () => {
  expect(readCommandHeaders(COMMAND)).toMatchObject({ sagaId: 'o-1' })
  expect(readCommandHeaders({ ...COMMAND, [SAGA_HEADERS.id]: 'o\0' })).toBeUndefined()
})

test.each([0, -1, 1.5, Number.POSITIVE_INFINITY])('the attempt %d of a command is invalid', (attempt) => {
  expect(readCommandHeaders({ ...COMMAND, [SAGA_HEADERS.attempt]: attempt })?.attempt).toBeUndefined()
})

test('a transaction whose id has no UTF-8 form is refused, since it could not be passed on', () => {
  const header = { 'saga-transaction': 'shop/transfer/\ud800/12345678-abcd' }
  expect(() => readTransaction(header)).toThrow(expect.objectContaining({ code: 'saga.transaction_header' }))
})
