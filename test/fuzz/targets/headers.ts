/** Headers that parts of the package read for themselves, and requests with their replies. */
import { defineChannel } from 'concordat/binder'
import { jsonCodec, textCodec } from 'concordat/core'
import { leaseFromHeaders, leaseHeaders } from 'concordat/locks'
import { z } from 'zod'
import { hostileBytes, hostileJson, hostileJsonText, hostileMap } from '../hostile.ts'
import {
  AcceptedReplyAddresses,
  askingOf,
  decodePayload,
  readReply,
  readTraceContext,
  traceHeaders,
  upcastPayload,
} from '../inside.ts'
import { MESSAGES } from '../samples.ts'
import { check, target } from '../target.ts'

const [message] = MESSAGES as [(typeof MESSAGES)[0]]
const TRACE = { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', tracestate: 'a=1,b=2' }
const HEADERS = {
  ...TRACE,
  ...leaseHeaders({ key: 'door', token: 7 }),
  'payload-version': 1,
  'request-id': 'i/1',
  'request-reply-to': 'answers.shop',
  'reply-status': 'failed',
}
const versions = { name: 'orders', version: 2, upcasts: { 1: (old: unknown) => ({ old }) } }

export const headers = target({
  name: 'headers',
  about: 'traces, leases, versions and requests, as headers say them',
  input: (tape) => hostileMap<unknown>(tape, HEADERS, (from, sample) => hostileJson(from, sample ?? 'x')),
  run(given) {
    const plain = Object.entries(given).filter(([, value]) => typeof value !== 'object' || value === null)
    const all = Object.fromEntries(plain) as typeof message.headers
    const trace = readTraceContext(all)
    if (trace !== undefined) check(readTraceContext(traceHeaders(trace))?.spanId === trace.spanId, 'a trace is lost')
    askingOf({ ...message, headers: all })
    const address = new AcceptedReplyAddresses('answers').addressOrNone(all)
    check(address === undefined || address.to.startsWith('answers.'), 'an answer would go elsewhere')
    const lease = leaseFromHeaders(all)
    if (lease !== undefined) check(Number.isSafeInteger(lease.token) && lease.token > 0, 'the token is none')
    upcastPayload(versions, { ...message, headers: all }, {})
  },
})

const answers = defineChannel('answers', { payload: z.object({ n: z.number() }) })

export const replies = target({
  name: 'request-reply',
  about: 'the reply to a request, a failed one too',
  input: (tape) => ({
    status: tape.pick(['failed', 'ok']),
    body: tape.once(8)
      ? null
      : Buffer.from(hostileJsonText(tape, { reason: 'no', message: 'm', retryable: true }, { n: 1 })),
  }),
  isAsync: true,
  run: ({ status, body }) => readReply('orders', answers, { ...message, headers: { 'reply-status': status }, body }),
})

const Deep = z.object({ id: z.string(), lines: z.array(z.object({ sku: z.string(), n: z.number() })) })
const orders = defineChannel('orders', { payload: Deep })

export const payload = target({
  name: 'payload',
  about: 'the codecs, and a payload with its schema',
  input: (tape) =>
    tape.once(3)
      ? hostileBytes(tape, '{"id":"o-1"}', 'text')
      : Buffer.from(hostileJsonText(tape, { id: 'o-1', lines: [{ sku: 'a', n: 2 }] })),
  isAsync: true,
  async run(body) {
    const text = attempt(() => textCodec.decode(body))
    if (text !== undefined) check(Buffer.compare(Buffer.from(textCodec.encode(text)), body) === 0, 'text is another')
    jsonCodec.decode(body)
    await decodePayload(orders, { ...message, body })
  },
})

/** `undefined`: it was refused as it has to be. */
function attempt(work: () => string): string | undefined {
  try {
    return work()
  } catch (error) {
    check((error as { code?: unknown }).code === 'core.codec', 'the codec throws another error')
    return undefined
  }
}
