import { counted } from '../core/counted-noun.ts'
import { type ErrorClass, type ErrorOf, errorClass } from '../core/define-error-class.ts'

/** Fields of an `OutboxError`, by code. */
export interface OutboxErrors {
  /** A message over the outbox's limit. Nothing was written; the caller's transaction is still usable. */
  'outbox.too_large': { destination: string; messageId: string; bytes: number; maxBytes: number }
  /** A part of the outbox was started after its `close()`, or while it was closing. */
  'outbox.closed': { part: string; make: string }
  /** PostgreSQL text cannot contain a NUL. Nothing was written; the caller's transaction is still usable. */
  'outbox.text': { field: string; destination: string }
  /**
   * The number of partitions is fixed when the tables are created, because a key's partition depends on it. Thrown by `migrate`,
   * by `relay.start` and by an `add` (which wrote nothing).
   */
  'outbox.partitions': { schema: string; configured: number; stored: number | undefined }
  /**
   * The outbox in this schema belongs to another service, whose relay would send messages added here to its own broker. Thrown by
   * `migrate`, `ready`, `relay.start` and by an `add` (which wrote nothing).
   */
  'outbox.owner': { schema: string; service: string; owner: string }
  /** Several failed messages have this id: with different destinations, or from different sources. Nothing was changed. */
  'outbox.ambiguous': {
    id: string
    places: ReadonlyArray<{ readonly destination: string; readonly source: string }>
  }
  /** A handler behind an inbox returned outputs, but the inbox was created without an `outbox`. */
  'outbox.inbox_without_outbox': { group: string }
  /** A send in a transaction without an outbox. Nothing was sent; the transaction is still usable. */
  'outbox.transaction_without_outbox': { destination: string; remedy: string }
}

/** Error of the outbox and the inbox. Its fields depend on its `code`: see `OutboxErrors`. */
export type OutboxError<Code extends keyof OutboxErrors = keyof OutboxErrors> = ErrorOf<OutboxErrors, Code>

/** Error of the outbox and the inbox. Its fields depend on its `code`: see `OutboxErrors`. */
export const OutboxError: ErrorClass<OutboxErrors> = errorClass<OutboxErrors>('OutboxError', {
  'outbox.too_large': ({ destination, messageId, bytes, maxBytes }) =>
    `message ${messageId} to "${destination}" has a payload of ${bytes} bytes, over the outbox's limit of ${maxBytes}: send a reference instead, or raise maxPayloadBytes of createOutbox (in createService: parts: { outbox: { maxPayloadBytes } }) together with the broker's limit`,
  'outbox.closed': ({ part, make }) =>
    `start of the ${part}: expected an open one, got one that is closed: make another with ${make}`,
  'outbox.text': ({ field, destination }) =>
    `${field} of a message to "${destination}" holds a NUL character, which PostgreSQL text cannot store: encode it`,
  'outbox.partitions': ({ schema, configured, stored }) =>
    stored === undefined
      ? `the outbox in schema "${schema}" is not ready for ${counted(configured, 'partition')}: call outbox.migrate() first, with the same "partitions" in every process`
      : `the outbox in schema "${schema}" was made with ${counted(stored, 'partition')}, this process says ${configured}: set createOutbox({ partitions: ${stored} }), or drain it and use another schema`,
  'outbox.owner': ({ schema, service, owner }) =>
    `the outbox in schema "${schema}" belongs to the service "${owner}", this one is "${service}": give each service a schema of its own: \`schema: '${service}'\` of createService or createOutbox. After renaming a service: UPDATE "${schema}".outbox_meta SET service = '${service}'`,
  'outbox.ambiguous': ({ id, places }) => {
    const each = places.map(({ destination, source }) => `"${destination}" from "${source}"`).join(', ')
    return `several failed messages have the id ${JSON.stringify(id)}: ${each}. Say which: { id, destination, source }`
  },
  'outbox.inbox_without_outbox': ({ group }) =>
    `the handler of group "${group}" gave outputs, but its inbox has no outbox: createInbox({ sql, outbox })`,
  'outbox.transaction_without_outbox': ({ destination, remedy }) =>
    `tx.send("${destination}"): this transaction has no outbox: give what createOutbox returns to ${remedy}`,
})
