/** Events in structured mode, rows of the log and of the outbox, dead letters. */
import { hostileBytes, hostileJson, hostileJsonText, hostileMap, hostileText } from '../hostile.ts'
import {
  fromOutboxRow,
  fromRow,
  headersColumn,
  metaOf,
  readDeadLetter,
  toDeadLetter,
  toTrimmedDeadLetter,
  unfoldStructured,
} from '../inside.ts'
import { difference, EVENT, MESSAGES } from '../samples.ts'
import { Broken, check, isWrongArgument, target } from '../target.ts'

const [message] = MESSAGES as [(typeof MESSAGES)[0]]

const EVENT_OF_BYTES = { ...EVENT, data: undefined, data_base64: 'AAEC' }

export const cloudEvent = target({
  name: 'cloud-event',
  about: 'an event in structured mode (JSON)',
  input: (tape) => ({
    body: tape.once(4)
      ? hostileBytes(tape, JSON.stringify(EVENT))
      : Buffer.from(hostileJsonText(tape, EVENT, EVENT_OF_BYTES)),
    contentType: hostileText(tape, 'application/cloudevents+json', 'application/cloudevents+json; charset=utf-8'),
  }),
  run({ body, contentType }) {
    const unfolded = unfoldStructured({ ...message, contentType, body })
    check(
      unfolded.id.length <= 255 && unfolded.source.length <= 255 && unfolded.type.length <= 255,
      'an attribute is too long',
    )
    check(Math.abs(unfolded.time) <= 8.64e15, 'the time is no instant')
  },
})

const METAS = [
  ...MESSAGES.map((each) => JSON.parse(metaOf(each)) as unknown),
  EVENT,
  { id: 'i', headers: { a: { $bytes: 'AAEC' }, b: { $number: '-0' } }, time: '2026-11-22T08:10:00Z', keyBytes: 'AA==' },
]

export const logRow = target({
  name: 'log-row',
  about: 'a row of the log in PostgreSQL becomes a message, and that one a row again',
  input: (tape) => ({
    key: tape.once(4) ? null : hostileBytes(tape, 'o-1'),
    meta: hostileJsonText(tape, ...METAS),
    body: tape.once(4) ? null : hostileBytes(tape, '{}'),
  }),
  run(row) {
    const read = fromRow('orders', row, '0/1')
    const again = fromRow('orders', { ...row, meta: metaOf(read), body: read.body }, '0/1')
    const found = difference({ ...read, key: null }, { ...again, key: null })
    if (found !== undefined && read.contentType === again.contentType)
      throw new Broken(`a row that is written again is another: ${found}`)
  },
})

const COLUMN = JSON.parse(headersColumn(message) ?? '{}') as unknown

/** The column is of the type `json`, which the database checks. */
function columnOf(text: string): string | null {
  try {
    JSON.parse(text)
    return text
  } catch {
    return null
  }
}

export const outboxRow = target({
  name: 'outbox-row',
  about: 'a row of the outbox, as the relay reads it',
  input: (tape) => ({
    headers: columnOf(hostileJsonText(tape, COLUMN, { 'concordat-not-before': 1 })),
    id: hostileText(tape, 'o-1'),
    time: tape.pick(['1795334400123', '0', '-1', '9223372036854775807']),
    payload: tape.once(4) ? null : hostileBytes(tape, '{}'),
  }),
  run({ headers, id, time, payload }) {
    const row = {
      id,
      aggregatetype: 'orders',
      aggregateid: null,
      type: 't',
      payload,
      source: 's',
      content_type: '',
      headers,
      time,
    }
    const read = fromOutboxRow(row)
    const again = fromOutboxRow({ ...row, headers: headersColumn(read) })
    const found = difference(read, again)
    if (found !== undefined) throw new Broken(`a row that is written again is another: ${found}`)
  },
  // The relay parks such a row, with this as its error.
  refuses: isWrongArgument,
})

const LETTER = toDeadLetter(message, {
  error: Object.assign(new Error('no stock'), { code: 'stock.none' }),
  attempts: 3,
  group: 'audit',
  position: '0/7',
  service: 'shop',
  at: 1_795_334_400_000,
})
const failure = {
  error: new TypeError('\ud800'.repeat(2_000)),
  attempts: 0,
  group: 'g',
  position: '0/1',
  service: 's',
  at: 0,
}

export const deadLetter = target({
  name: 'dead-letter',
  about: 'the headers of a dead letter; any message becomes one, also trimmed',
  input: (tape) => ({
    headers: hostileMap<unknown>(tape, LETTER.headers, (from, sample) => hostileJson(from, sample ?? 'x')),
    id: hostileText(tape, 'o-1'),
    key: tape.once(4) ? null : hostileText(tape, 'k'),
    contentType: hostileText(tape, 'application/json'),
  }),
  run({ headers, id, key, contentType }) {
    const plain = Object.entries(headers).filter(([, value]) => typeof value !== 'object' || value === null)
    const given = { ...message, id, key, contentType, headers: Object.fromEntries(plain) as typeof message.headers }
    const letter = readDeadLetter(given)
    check(letter.failedAt === undefined || Number.isFinite(letter.failedAt), 'failedAt is no instant')
    const dead = toDeadLetter(given, failure)
    check(Object.keys(dead.headers).length < Object.keys(given.headers).length + 12, 'it has too many headers')
    const trimmed = toTrimmedDeadLetter(given, failure, 1_024)
    const bytes = Object.entries(trimmed.headers).reduce(
      (sum, [name, value]) => sum + name.length + String(value).length,
      0,
    )
    check(bytes < 8_192, `a trimmed letter has ${bytes} bytes of headers`)
  },
})
