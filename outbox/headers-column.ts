/**
 * The outbox's column `headers`. It is `json`, not `jsonb`, which refuses the NUL and lone surrogates that a string may contain.
 */
import { headersFromJson, headersToJson } from '../binder/channel/json-header.ts'
import { type EncodedMessage, INTERNAL_PREFIX } from '../binder/channel/message.ts'

/** Header of a row with the time at which a delayed message is due. The relay passes it to the broker, which waits. */
const NOT_BEFORE = `${INTERNAL_PREFIX}not-before`

/** The headers column of a message. */
export function headersColumn({ headers, notBefore }: EncodedMessage): string | null {
  return headersToJson(notBefore === undefined ? headers : { ...headers, [NOT_BEFORE]: notBefore })
}

/** Reads a headers column into the fields of a message. */
export function fromHeadersColumn(text: string | null): Pick<EncodedMessage, 'headers' | 'notBefore'> {
  const all = headersFromJson(text)
  const notBefore = all[NOT_BEFORE]
  if (typeof notBefore !== 'number') return { headers: all }
  const { [NOT_BEFORE]: _due, ...headers } = all
  return { headers, notBefore }
}
