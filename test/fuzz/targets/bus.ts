/** Headers and bodies that the bus reads, signed and unsigned. */
import { hostileBytes, hostileJson, hostileJsonText, hostileMap, hostileText } from '../hostile.ts'
import {
  ackHeaders,
  decodeOutcome,
  decodeReport,
  encodeOutcome,
  encodeReport,
  eventHeaders,
  failedWith,
  parseAck,
  parseEvent,
  parsePattern,
  parsePresence,
  parseReport,
  presenceHeaders,
  reportHeaders,
  Signer,
  signedFields,
} from '../inside.ts'
import { check, target } from '../target.ts'

const signer = new Signer([Buffer.alloc(32, 7)], 'concordat.bus')
const sender = 'orders:eu:orders-1'
const signature = signer.sign(['x'], Buffer.alloc(0))
const SAMPLES = {
  ...eventHeaders({ sender, name: 'rates', to: parsePattern('orders:**'), wantsAck: true, signature }),
  ...ackHeaders({ sender, of: 'e-1', to: sender, status: 'failed', signature }),
  ...reportHeaders({ sender, session: 's-1', signature }),
  ...presenceHeaders({ sender, state: 'hello', session: 's-1', intervalMs: 5_000, signature }),
}

export const busEnvelope = target({
  name: 'bus-envelope',
  about: 'events, answers and announcements on the bus, and their signatures',
  input: (tape) => ({
    headers: hostileMap<unknown>(tape, SAMPLES, (from, sample) => hostileJson(from, sample ?? 'x')),
    body: hostileBytes(tape, '{}'),
    id: hostileText(tape, 'e-1'),
    kind: tape.below(4),
  }),
  run({ headers, body, id, kind }) {
    const plain = Object.fromEntries(
      Object.entries(headers).filter(([, value]) => typeof value !== 'object' || value === null),
    )
    const parse = [parseEvent, parseAck, parsePresence, parseReport][kind] as typeof parseEvent
    const read = parse({ id, time: 1_000, headers: plain as never })
    if (typeof read === 'string') return
    const fields = signedFields(read)
    check(signer.check(fields, body, read.signature) !== 'genuine', 'a signature was taken that nobody made')
    check(signer.check(fields, body, signer.sign(fields, body)) === 'genuine', 'a signature of ours was refused')
  },
})

const OUTCOME = JSON.parse(
  Buffer.from(encodeOutcome(failedWith(Object.assign(new Error('no'), { code: 'bus.forbidden' })))).toString(),
) as unknown

export const busOutcome = target({
  name: 'bus-outcome',
  about: 'why an event failed elsewhere',
  input: (tape) =>
    tape.once(4) ? hostileBytes(tape, JSON.stringify(OUTCOME)) : Buffer.from(hostileJsonText(tape, OUTCOME)),
  run(body) {
    const { error } = decodeOutcome('failed', body)
    check(typeof error?.name === 'string' && typeof error.message === 'string', 'the error has no words')
    check(Buffer.byteLength(error?.message ?? '') <= 1_024, 'the message is too long')
  },
})

const counters = { running: 1, queued: 0, handled: 7, deadLettered: 1, dropped: 0, retried: 2 }
const BINDING = {
  name: 'orders.stock',
  kind: 'sink',
  channel: 'orders',
  group: 'stock',
  partitions: 4,
  state: 'running',
} as const
const REPORT = JSON.parse(
  Buffer.from(
    encodeReport({
      uptimeMs: 1_000,
      memoryBytes: 1_000,
      cpu: 0.01,
      blockedMs: 0,
      bindings: [{ ...BINDING, ...counters }],
    }),
  ).toString(),
) as unknown

export const busReport = target({
  name: 'bus-report',
  about: 'what an instance says that it does',
  input: (tape) =>
    tape.once(4) ? hostileBytes(tape, JSON.stringify(REPORT)) : Buffer.from(hostileJsonText(tape, REPORT)),
  run(body) {
    const read = decodeReport(body)
    if (typeof read === 'string') return
    check(read.bindings.length <= 300, 'there are too many bindings')
    for (const { name, channel, handled, state } of read.bindings) {
      check(name.length <= 300 && channel.length <= 300, 'a name is too long')
      check(Number.isSafeInteger(handled) && handled >= 0, 'a counter is none')
      check(/^[a-z-]{1,30}$/.test(state), 'a state is none')
    }
    const again = decodeReport(encodeReport(read))
    check(
      JSON.stringify(again) === JSON.stringify({ ...read, leftOut: 0 }),
      'it reads otherwise when it is written again',
    )
  },
})
