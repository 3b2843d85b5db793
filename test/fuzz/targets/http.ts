/** HTTP input: requests to participants, and answers of participants. */

import { defineChannel } from 'concordat/binder'
import { type SqlClient, systemClock } from 'concordat/core'
import { participant } from 'concordat/saga'
import { httpParticipants, httpTarget } from 'concordat/saga/http'
import { z } from 'zod'
import { hostileBytes, hostileJsonText, hostileMap, hostileText } from '../hostile.ts'
import { post, readCommandHeaders } from '../inside.ts'
import { MESSAGES } from '../samples.ts'
import { check, target } from '../target.ts'

const bank = defineChannel('bank.commands', { payload: z.object({ cents: z.number() }) })
const none = (): Promise<never> => Promise.reject(new Error('there is no database here'))
const sql: SqlClient = { query: none, transaction: none }
const handler = httpParticipants(
  [participant(bank, { group: 'bank', sql, outbox: { add: none } as never }, { invoke() {}, compensate() {} })],
  { authorize: 'none', sql, maxRequestBytes: 10_000 },
)
const HEADERS = {
  'content-type': 'application/json',
  'ce-type': 'bank.commands',
  'ce-id': 'm-1',
  'ce-source': 'shop',
  'ce-time': '2026-11-22T08:10:00Z',
  'saga-name': 'order',
  'saga-id': 'o-1',
  'saga-step': 'pay',
  'saga-operation': 'invoke',
  'saga-key': 'order/o-1/pay',
  'saga-attempt': '1',
  'saga-birth': '12345678-abcd',
  'saga-round': '1',
  'saga-reply-to': 'shop.saga-replies',
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
}
const STATUSES: ReadonlySet<number> = new Set([400, 404, 405, 413, 503])

/** `undefined`: no HTTP library lets it through. */
function headersOf(given: Readonly<Record<string, string>>): Headers | undefined {
  try {
    return new Headers(given)
  } catch {
    return undefined
  }
}

export const httpRequest = target({
  name: 'http-request',
  about: 'a request to a participant',
  input: (tape) => ({
    headers: hostileMap(tape, HEADERS, (from, sample) => hostileText(from, sample ?? 'x')),
    body: tape.once(4) ? hostileBytes(tape, '{"cents":5}') : Buffer.from(hostileJsonText(tape, { cents: 5 })),
    method: tape.once(16) ? 'PUT' : 'POST',
  }),
  isAsync: true,
  async run({ headers, body, method }) {
    const fit = headersOf(headers)
    if (fit === undefined) return
    const response = await handler(new Request('http://bank/saga', { method, headers: fit, body }))
    check(STATUSES.has(response.status), `the status ${response.status}, and there is no database`)
    const said = await response.text()
    check(/^\{"error":\{"code":"saga\.http_[a-z_]+"\}\}$/.test(said), `the answer says ${said.slice(0, 99)}`)
  },
})

const COMMAND = readCommandHeaders({ ...HEADERS, 'saga-attempt': 1, 'saga-round': 1 } as never)
const REPLY = {
  saga: 'order',
  sagaId: 'o-1',
  step: 'pay',
  operation: 'invoke',
  status: 'ok',
  result: { paid: true },
  round: 1,
}
const ANSWER_HEADERS = { 'content-type': 'application/json', 'retry-after': '1', location: 'http://other/' }

export const httpAnswer = target({
  name: 'http-answer',
  about: 'the answer of a participant',
  input: (tape) => ({
    status: tape.pick([200, 200, 200, 201, 302, 400, 401, 404, 409, 413, 429, 500, 503]),
    headers: hostileMap(tape, ANSWER_HEADERS, (from, sample) => hostileText(from, sample ?? 'x')),
    body: tape.once(4)
      ? hostileBytes(tape, JSON.stringify(REPLY))
      : Buffer.from(hostileJsonText(tape, REPLY, { error: { code: 'saga.http_busy' } })),
  }),
  isAsync: true,
  async run({ status, headers, body }) {
    const fit = headersOf(headers)
    if (fit === undefined || COMMAND === undefined) return
    const fetch = async (): Promise<Response> => new Response(body, { status, headers: fit })
    const to = httpTarget(bank, { url: 'http://bank/saga?key=hush', fetch, maxResponseBytes: 20_000 })
    const asked = { target: to as never, message: MESSAGES[0] as (typeof MESSAGES)[0], command: COMMAND }
    const answer = await post(asked, to.http, systemClock, new AbortController().signal)
    if ('reply' in answer) {
      check(answer.reply.sagaId === COMMAND.sagaId && answer.reply.step === COMMAND.step, 'it is for another step')
      return
    }
    const { message, code } = 'again' in answer ? answer.again : answer.failed
    check(/^saga\.http_[a-z_]+$/.test(code), `the code is ${code}`)
    check(!message.includes('hush') && message.length < 300, `the message says ${message}`)
  },
})
