/** A dead letter in the form shown to operators. */

import { type EncodedMessage, type Headers, publicHeaders } from '../channel/message.ts'
import { deadLetterFacts } from '../consuming/failure/dead-letter-message.ts'

/** A message that failed permanently, and the reason. Missing metadata (written by another program) is `undefined`. */
export interface DeadLetter {
  readonly id: string
  readonly key: string | null
  readonly source: string
  /** Time at which the message was created, epoch ms. */
  readonly time: number
  /** Headers of the message, without the metadata of the failure. */
  readonly headers: Headers
  /** Empty if its writer did not set it. */
  readonly contentType: string
  readonly bytes: number
  /** The payload as received, e.g. for `channel.codec.decode`; `null` is a tombstone. A dry run lists it on request. */
  readonly body: Uint8Array | null
  /** Time of the failure, epoch ms. */
  readonly failedAt: number | undefined
  /** Number of handler calls; 0 when the payload never reached the handler. */
  readonly attempts: number | undefined
  /** Position in the channel. */
  readonly position: string | undefined
  /** Service that failed. */
  readonly service: string | undefined
  readonly error: DeadLetterError
}

/** The error because of which a message became a dead letter; `undefined` if the letter has none. */
export interface DeadLetterError {
  readonly name: string | undefined
  readonly message: string | undefined
  readonly code: string | undefined
  /** Stack of limited length. */
  readonly stack: string | undefined
}

export function readDeadLetter(message: EncodedMessage): DeadLetter {
  const { headers, facts } = deadLetterFacts(publicHeaders(message.headers))
  const text = (name: string): string | undefined => (typeof facts[name] === 'string' ? facts[name] : undefined)
  const attempts = facts['attempts']
  const failedAt = Date.parse(text('time') ?? '')
  return {
    id: message.id,
    key: message.key,
    source: message.source,
    time: message.time,
    headers,
    contentType: message.contentType,
    bytes: message.body?.byteLength ?? 0,
    body: message.body,
    failedAt: Number.isNaN(failedAt) ? undefined : failedAt,
    attempts: typeof attempts === 'number' ? attempts : undefined,
    position: text('position'),
    service: text('service'),
    error: {
      name: text('error-name'),
      message: text('error-message'),
      code: text('error-code'),
      stack: text('error-stack'),
    },
  }
}
