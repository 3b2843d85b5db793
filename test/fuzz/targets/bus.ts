/** What the bus reads of headers and bodies, signed and not. */
import { hostileBytes, hostileJson, hostileJsonText, hostileMap, hostileText } from '../hostile.ts'
import {
  ackHeaders,
  decodeOutcome,
  encodeOutcome,
  eventHeaders,
  failedWith,
  parseAck,
  parseEvent,
  parsePattern,
  parsePresence,
  presenceHeaders,
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
  ...presenceHeaders({ sender, state: 'hello', session: 's-1', intervalMs: 5_000, signature }),
}

export const busEnvelope = target({
  name: 'bus-envelope',
  about: 'events, answers and announcements on the bus, and their signatures',
  input: (tape) => ({
    headers: hostileMap<unknown>(tape, SAMPLES, (from, sample) => hostileJson(from, sample ?? 'x')),
    body: hostileBytes(tape, '{}'),
    id: hostileText(tape, 'e-1'),
    kind: tape.below(3),
  }),
  run({ headers, body, id, kind }) {
    const plain = Object.fromEntries(
      Object.entries(headers).filter(([, value]) => typeof value !== 'object' || value === null),
    )
    const parse = [parseEvent, parseAck, parsePresence][kind] as typeof parseEvent
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
