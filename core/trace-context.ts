/** A position in a trace, as sent in headers. @see https://www.w3.org/TR/trace-context/ */

export interface TraceContext {
  /** 32 lowercase hexadecimal digits. */
  readonly traceId: string
  /** 16 lowercase hexadecimal digits. */
  readonly spanId: string
  readonly sampled: boolean
  /** `tracestate`, unchanged. */
  readonly state?: string | undefined
}

/** Header names. */
export const TRACEPARENT = 'traceparent'
const TRACESTATE = 'tracestate'

const FORM = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/
const ZEROS = /^0+$/
/** Length that every implementation must pass on; longer states are not kept. */
const MAX_STATE_CHARACTERS = 512
const MAX_STATE_MEMBERS = 32
const MEMBER = /^[a-z0-9][a-z0-9_*/@-]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/

/**
 * Reads the trace context from the headers of a message. Headers are not trusted: malformed ones count as absent, and nothing
 * throws. A malformed or oversized `tracestate` is dropped alone, as the specification requires.
 */
export function readTraceContext(headers: Readonly<Record<string, unknown>>): TraceContext | undefined {
  const parent = headers[TRACEPARENT]
  if (typeof parent !== 'string' || parent.length < 55 || parent.length > 255) return undefined
  const [, version, traceId = '', spanId = '', flags = '', more] = FORM.exec(parent) ?? []
  if (version === undefined || version === 'ff' || (version === '00' && more !== undefined)) return undefined
  if (ZEROS.test(traceId) || ZEROS.test(spanId)) return undefined
  const sampled = (Number.parseInt(flags, 16) & 1) === 1
  const state = readState(headers[TRACESTATE])
  return state === undefined ? { traceId, spanId, sampled } : { traceId, spanId, sampled, state }
}

function readState(value: unknown): string | undefined {
  if (typeof value !== 'string' || value === '' || value.length > MAX_STATE_CHARACTERS) return undefined
  const members = value.split(',').map((member) => member.trim())
  const filled = members.filter((member) => member !== '')
  if (filled.length === 0 || filled.length > MAX_STATE_MEMBERS) return undefined
  return filled.every((member) => MEMBER.test(member)) ? filled.join(',') : undefined
}

/** The headers of a trace context. */
export function traceHeaders(context: TraceContext): Readonly<Record<string, string>> {
  const traceparent = `00-${context.traceId}-${context.spanId}-${context.sampled ? '01' : '00'}`
  return context.state === undefined ? { traceparent } : { traceparent, tracestate: context.state }
}
