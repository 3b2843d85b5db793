/** Redacts payloads before any byte leaves the server. */

/** Place of a value. */
export interface RedactPlace {
  readonly kind: 'letter' | 'saga' | 'row'
  /** Channel of a dead letter. */
  readonly channel?: string | undefined
  /** Name of a saga, also for a row that one of its steps changed. */
  readonly saga?: string | undefined
  /** `input.card.number`, `headers.authorization`; `body` for a whole text body; `<table>.<column>` for a row. */
  readonly path: string
}

/** Returns the shown value; return the value itself to show it unchanged. An exception hides the value. */
export type Redact = (value: unknown, place: RedactPlace) => unknown

/** Values under such names are never shown. */
const SECRET =
  /pass(?:word|wd|phrase)|secret|token|authorization|cookie|credential|api[-_]?key|private[-_]?key|card|cvv|cvc|iban|ssn/i
export const HIDDEN = '***'
const MAX_DEPTH = 32
const MAX_VALUES = 20_000
const MAX_SHOWN_BYTES = 256 * 1_024

/**
 * Hides the values under secret names, also in a text that is JSON, which stays a text.
 * @param redact called for each value that is neither an object nor a list
 */
export function redacted(value: unknown, place: RedactPlace, redact: Redact | undefined): unknown {
  let left = MAX_VALUES
  const walk = (each: unknown, path: string, name: string, depth: number): unknown => {
    if (--left < 0 || depth > MAX_DEPTH) return '...'
    if (SECRET.test(name)) return HIDDEN
    if (Array.isArray(each)) return each.map((item, n) => walk(item, `${path}[${n}]`, '', depth + 1))
    if (typeof each === 'object' && each !== null && !(each instanceof Uint8Array))
      return Object.fromEntries(
        Object.entries(each).map(([key, item]) => [key, walk(item, `${path}.${key}`, key, depth + 1)]),
      )
    const result = shown(each, { ...place, path }, redact)
    const inner = result === each && typeof each === 'string' ? parsed(each)?.value : undefined
    if (typeof inner !== 'object' || inner === null) return result
    const within = walk(inner, path, name, depth + 1)
    const text = JSON.stringify(within)
    // A parsed object keeps only the last of two members with the same name.
    return text === JSON.stringify(inner) && !SECRET.test(String(each)) ? each : text
  }
  return walk(value, place.path, place.path, 0)
}

function shown(value: unknown, place: RedactPlace, redact: Redact | undefined): unknown {
  try {
    const result = redact === undefined ? value : redact(value, place)
    return result instanceof Uint8Array ? hex(result) : result
  } catch {
    return HIDDEN
  }
}

/** A payload in readable form. */
export interface ShownBody {
  readonly as: 'json' | 'text' | 'hex' | 'nothing'
  readonly value: unknown
  readonly bytes: number
  /** True if only a part is shown. */
  readonly cut: boolean
}

export function showBody(body: Uint8Array | null, place: RedactPlace, redact: Redact | undefined): ShownBody {
  if (body === null) return { as: 'nothing', value: null, bytes: 0, cut: false }
  const bytes = body.byteLength
  const cut = bytes > MAX_SHOWN_BYTES
  const part = cut ? body.subarray(0, MAX_SHOWN_BYTES) : body
  const text = textOf(part, cut)
  if (text === undefined) return { as: 'hex', value: shown(hex(part), place, redact), bytes, cut }
  const json = cut ? undefined : parsed(text)
  if (json !== undefined) return { as: 'json', value: redacted(json.value, place, redact), bytes, cut }
  // In truncated JSON, names by which a value would be hidden may be missing.
  return { as: 'text', value: shown(cut ? HIDDEN : text, place, redact), bytes, cut }
}

function textOf(bytes: Uint8Array, cut: boolean): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: cut })
  } catch {
    return undefined
  }
}

function parsed(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) }
  } catch {
    return undefined
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
