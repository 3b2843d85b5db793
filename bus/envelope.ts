/**
 * Writes and reads the headers of the bus. Reading never throws, whatever was sent. The order of `signedFields` is the canonical
 * signed form; `docs/reference/wire-format.md` describes it for other languages.
 */
import type { HandlerContext } from '../binder/bindings/handler-types.ts'
import type { Headers, HeaderValue } from '../binder/channel/message.ts'
import { type Address, type AddressPattern, parseAddress, parsePattern } from './address.ts'

/** Raised when an older bus could misunderstand a message; older ones drop messages with an unknown version. */
const BUS_VERSION = 1

interface Signed {
  /** 64 hexadecimal digits; absent when the sender has no secret. */
  readonly signature: string | undefined
  /** Epoch ms by the sender's clock. */
  readonly time: number
  readonly id: string
  /** Claimed sender. Reliable only if the message is signed. */
  readonly from: Address
  readonly sender: string
}

export interface EventEnvelope extends Signed {
  readonly kind: 'event'
  readonly name: string
  readonly to: AddressPattern
  readonly wantsAck: boolean
}

export type AckStatus = 'acked' | 'failed' | 'ignored'

export interface AckEnvelope extends Signed {
  readonly kind: 'ack'
  /** The event's id. */
  readonly of: string
  readonly to: string
  readonly status: AckStatus
}

/** `hello` asks the other instances to announce themselves. */
export type PresenceState = 'hello' | 'here' | 'left'

export interface PresenceEnvelope extends Signed {
  readonly kind: 'presence'
  readonly state: PresenceState
  /** Session of the process: distinguishes two with one address. */
  readonly session: string
  readonly intervalMs: number
}

/** Report of an instance, sent on the channel of the answers. */
export interface ReportEnvelope extends Signed {
  readonly kind: 'report'
  /** Session of the process: its counters restart with it. */
  readonly session: string
}

export type Envelope = EventEnvelope | AckEnvelope | PresenceEnvelope | ReportEnvelope

/** Reason why a message could not be read. */
export type ParseFailure = 'malformed' | 'unsupported'

type Arrived = Pick<HandlerContext, 'id' | 'time' | 'headers'>

const STATUSES: readonly string[] = ['acked', 'failed', 'ignored'] satisfies AckStatus[]
const STATES: readonly string[] = ['hello', 'here', 'left'] satisfies PresenceState[]
const MAX_INTERVAL_MS = 24 * 60 * 60_000

export function eventHeaders(event: Omit<EventEnvelope, 'time' | 'id' | 'from' | 'kind'>): Headers {
  const { sender, name, to, wantsAck, signature } = event
  return headers({ from: sender, event: name, to: to.text, ack: wantsAck ? true : undefined, signature })
}

export function ackHeaders(ack: Omit<AckEnvelope, 'time' | 'id' | 'from' | 'kind'>): Headers {
  const { sender, of, to, status, signature } = ack
  return headers({ from: sender, 'ack-of': of, to, status, signature })
}

export function presenceHeaders(presence: Omit<PresenceEnvelope, 'time' | 'id' | 'from' | 'kind'>): Headers {
  const { sender, state, session, intervalMs, signature } = presence
  return headers({ from: sender, presence: state, session, interval: intervalMs, signature })
}

export function reportHeaders(report: Omit<ReportEnvelope, 'time' | 'id' | 'from' | 'kind'>): Headers {
  const { sender, session, signature } = report
  return headers({ from: sender, report: true, session, signature })
}

/** Distinguishes a report from an answer before anything is parsed. */
export function isReport({ headers }: Pick<Arrived, 'headers'>): boolean {
  return Object.hasOwn(headers, 'bus-report')
}

function headers(values: Readonly<Record<string, HeaderValue | undefined>>): Headers {
  const present = Object.entries({ version: BUS_VERSION, ...values }).filter(([, value]) => value !== undefined)
  return Object.fromEntries(present.map(([name, value]) => [`bus-${name}`, value as HeaderValue]))
}

/** Fields that the signature covers in addition to the body, such that no kind can be mistaken for another. */
export function signedFields(envelope: Envelope): readonly string[] {
  const common = [envelope.kind, envelope.id, envelope.sender, String(envelope.time)]
  switch (envelope.kind) {
    case 'event':
      return [...common, envelope.name, envelope.to.text, envelope.wantsAck ? 'ack' : '']
    case 'ack':
      return [...common, envelope.of, envelope.to, envelope.status]
    case 'presence':
      return [...common, envelope.state, envelope.session, String(envelope.intervalMs)]
    case 'report':
      return [...common, envelope.session]
  }
}

export function parseEvent(message: Arrived): EventEnvelope | ParseFailure {
  return parse(message, (read, signed) => ({
    ...signed,
    kind: 'event',
    name: read.text('event', 200),
    to: parsePattern(read.text('to', 400)),
    wantsAck: read.flag('ack'),
  }))
}

export function parseAck(message: Arrived): AckEnvelope | ParseFailure {
  return parse(message, (read, signed) => ({
    ...signed,
    kind: 'ack',
    of: read.text('ack-of', 255),
    to: read.text('to', 400),
    status: read.oneOf<AckStatus>('status', STATUSES),
  }))
}

export function parsePresence(message: Arrived): PresenceEnvelope | ParseFailure {
  return parse(message, (read, signed) => ({
    ...signed,
    kind: 'presence',
    state: read.oneOf<PresenceState>('presence', STATES),
    session: read.text('session', 100),
    intervalMs: read.whole('interval', MAX_INTERVAL_MS),
  }))
}

export function parseReport(message: Arrived): ReportEnvelope | ParseFailure {
  return parse(message, (read, signed) => ({ ...signed, kind: 'report', session: read.text('session', 100) }))
}

function parse<T>(message: Arrived, build: (read: Reader, signed: Signed) => T): T | ParseFailure {
  const read = new Reader(message.headers)
  try {
    if (read.whole('version', Number.MAX_SAFE_INTEGER) !== BUS_VERSION) return 'unsupported'
    const sender = read.text('from', 400)
    const { id, time } = message
    return build(read, { id, time, sender, from: parseAddress(sender), signature: read.optional('signature') })
  } catch {
    return 'malformed'
  }
}

/** Reads received headers. Other clients can send them, too, as text only. */
class Reader {
  readonly #headers: Headers

  constructor(headers: Headers) {
    this.#headers = headers
  }

  optional(name: string): string | undefined {
    const value = this.#value(name)
    return typeof value === 'string' ? value : undefined
  }

  text(name: string, maxLength: number): string {
    const value = this.#value(name)
    if (typeof value === 'string' && value.length > 0 && value.length <= maxLength) return value
    throw new TypeError(name)
  }

  oneOf<T extends string>(name: string, known: readonly string[]): T {
    const value = this.text(name, 50)
    if (known.includes(value)) return value as T
    throw new TypeError(name)
  }

  whole(name: string, max: number): number {
    const value = Number(this.#value(name) ?? Number.NaN)
    if (Number.isSafeInteger(value) && value >= 0 && value <= max) return value
    throw new TypeError(name)
  }

  flag(name: string): boolean {
    const value = this.#value(name)
    return value === true || value === 'true'
  }

  #value(name: string): HeaderValue | undefined {
    const key = `bus-${name}`
    return Object.hasOwn(this.#headers, key) ? this.#headers[key] : undefined
  }
}
