/**
 * kafkajs 2.2 copies all headers that it has read so far for each further one: a record with 10 000 headers, which any
 * producer may write into 200 KB, keeps the process busy for minutes, so that it loses its place in the group, gets the
 * same record again, and so on. This makes the many headers of one record an object in one pass, with the same result.
 *
 * It reaches into the one copy of kafkajs that this package resolves, once, when the first consumer is made. Records
 * with few headers take the old way. Another copy of kafkajs, or one that looks otherwise inside, stays as it is.
 */
import { createRequire } from 'node:module'

/** Below this, copying costs nothing that could be measured. */
const MANY = 64
const MENDED = Symbol.for('concordat.kafka.header-decoding')

interface Header {
  readonly key: string
  readonly value: unknown
}

type ReadArray = (this: unknown, reader: unknown) => Header[]

/** Idempotent. @returns whether it is mended */
export function mendHeaderDecoding(): boolean {
  try {
    const Decoder = createRequire(import.meta.url)('kafkajs/src/protocol/decoder.js') as {
      readonly prototype: { readVarIntArray?: ReadArray & { [MENDED]?: true } }
    }
    const read = Decoder.prototype.readVarIntArray
    if (typeof read !== 'function') return false
    if (read[MENDED] !== true) Decoder.prototype.readVarIntArray = mended(read)
    return true
  } catch {
    return false
  }
}

function mended(read: ReadArray): ReadArray {
  const readHeaders: ReadArray = function (reader) {
    const headers = read.call(this, reader)
    if (headers.length > MANY) Object.defineProperty(headers, 'reduce', { value: () => gather(headers) })
    return headers
  }
  return Object.assign(readHeaders, { [MENDED]: true as const })
}

/** By name; of a name that comes again a list. */
export function gather(headers: readonly Header[]): Record<string, unknown> {
  const byName = new Map<string, unknown>()
  for (const { key, value } of headers) {
    const known = byName.get(key)
    if (known === undefined) byName.set(key, value)
    else if (Array.isArray(known)) known.push(value)
    else byName.set(key, [known, value])
  }
  return Object.fromEntries(byName)
}
