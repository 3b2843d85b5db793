import { counted } from '../core/counted.ts'
import { ConcordatError } from '../core/errors.ts'

/** A message over the outbox's limit. Nothing was written; the caller's transaction is still usable. */
export class OutboxPayloadTooLarge extends ConcordatError {
  readonly code = 'outbox.too_large' as const
  readonly retryable = false as const
  readonly destination: string
  readonly messageId: string
  readonly bytes: number
  readonly maxBytes: number

  constructor(fields: { destination: string; messageId: string; bytes: number; maxBytes: number }) {
    super(
      `message ${fields.messageId} to "${fields.destination}" has a payload of ${fields.bytes} bytes, over the outbox's maxPayloadBytes of ${fields.maxBytes}: send a reference instead, or raise the limit together with the broker's`,
    )
    this.destination = fields.destination
    this.messageId = fields.messageId
    this.bytes = fields.bytes
    this.maxBytes = fields.maxBytes
  }
}

/** A part of the outbox was started after its `close()`, or while it was closing. */
export class OutboxClosed extends ConcordatError {
  readonly code = 'outbox.closed' as const
  readonly retryable = false as const

  /** @param part what was closed. @param make which call makes another one */
  constructor(part: string, make: string) {
    super(`start of the ${part}: expected an open one, got one that is closed: make another with ${make}`)
  }
}

/** PostgreSQL text cannot hold a NUL. Nothing was written; the caller's transaction is still usable. */
export class OutboxTextInvalid extends ConcordatError {
  readonly code = 'outbox.text' as const
  readonly retryable = false as const
  readonly field: string
  readonly destination: string

  constructor(field: string, destination: string) {
    super(
      `${field} of a message to "${destination}" holds a NUL character, which PostgreSQL text cannot store: encode it`,
    )
    this.field = field
    this.destination = destination
  }
}

/**
 * The number of partitions is fixed when the tables are made, because a key's partition depends on it. Thrown by
 * `migrate`, by `relay.start` and by an `add` (which wrote nothing).
 */
export class OutboxPartitionsMismatch extends ConcordatError {
  readonly code = 'outbox.partitions' as const
  readonly retryable = false as const
  readonly schema: string
  readonly configured: number
  readonly stored: number | undefined

  constructor(schema: string, configured: number, stored: number | undefined) {
    super(
      stored === undefined
        ? `the outbox in schema "${schema}" is not ready for ${counted(configured, 'partition')}: call outbox.migrate() first, with the same "partitions" in every process`
        : `the outbox in schema "${schema}" was made with ${counted(stored, 'partition')}, this process says ${configured}: set createOutbox({ partitions: ${stored} }), or drain it and use another schema`,
    )
    this.schema = schema
    this.configured = configured
    this.stored = stored
  }
}

/**
 * The outbox in this schema is another service's, whose relay would send what is added here to its own broker. Thrown by
 * `migrate`, `ready`, `relay.start` and by an `add` (which wrote nothing).
 */
export class OutboxOwned extends ConcordatError {
  readonly code = 'outbox.owner' as const
  readonly retryable = false as const
  readonly schema: string
  readonly service: string
  readonly owner: string

  constructor(schema: string, service: string, owner: string) {
    super(
      `the outbox in schema "${schema}" belongs to the service "${owner}", this one is "${service}": give each service a schema of its own: \`schema: '${service}'\` of createService or createOutbox. After renaming a service: UPDATE "${schema}".outbox_meta SET service = '${service}'`,
    )
    this.schema = schema
    this.service = service
    this.owner = owner
  }
}

/** Several failed messages have this id: of different destinations, or from different sources. Nothing was changed. */
export class OutboxAmbiguous extends ConcordatError {
  readonly code = 'outbox.ambiguous' as const
  readonly retryable = false as const
  readonly id: string
  readonly places: ReadonlyArray<{ readonly destination: string; readonly source: string }>

  constructor(id: string, places: ReadonlyArray<{ readonly destination: string; readonly source: string }>) {
    const each = places.map(({ destination, source }) => `"${destination}" from "${source}"`).join(', ')
    super(`several failed messages have the id ${JSON.stringify(id)}: ${each}. Say which: { id, destination, source }`)
    this.id = id
    this.places = places
  }
}

/** A handler behind an inbox gave outputs, but the inbox was made without an `outbox`. */
export class InboxWithoutOutbox extends ConcordatError {
  readonly code = 'outbox.inbox_without_outbox' as const
  readonly retryable = false as const

  constructor(group: string) {
    super(`the handler of group "${group}" gave outputs, but its inbox has no outbox: createInbox({ sql, outbox })`)
  }
}

/** A message was to be sent in a transaction that has no outbox. Nothing was sent; the transaction is still usable. */
export class TransactionWithoutOutbox extends ConcordatError {
  readonly code = 'outbox.transaction_without_outbox' as const
  readonly retryable = false as const
  readonly destination: string

  constructor(destination: string, remedy: string) {
    super(`tx.send("${destination}"): this transaction has no outbox: give what createOutbox returns to ${remedy}`)
    this.destination = destination
  }
}
