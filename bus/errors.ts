import { ConcordatError, show } from '../core/errors.ts'

/** A text is no valid address or pattern. Nothing was sent. */
export class AddressInvalid extends ConcordatError {
  readonly code = 'bus.address' as const
  readonly retryable = false as const

  constructor(address: unknown, expected: string) {
    super(`${show(address)} is no bus address: ${expected}`)
  }
}

const BUS_REMEDIES = {
  'not started':
    'a started bus, got one that is not started: call start(binder) before publishing, or await start() of its service',
  'already started':
    'the first start(binder), got another: call start(binder) once, and make another bus to start again',
  closed: 'an open bus, got one that is closed: publish nothing after close(), or make another with createBus',
  'closed while waiting':
    'an open bus, got one that was closed while the call waited for answers: the event may have been handled, ask the instances what they did',
} as const

/** The bus is not started, or closed; or it was closed while the caller waited for acknowledgements. */
export class BusClosed extends ConcordatError {
  readonly code = 'bus.closed' as const
  readonly retryable = false as const

  /** @param path what was called, such as `bus("shop:a").publish` */
  constructor(state: keyof typeof BUS_REMEDIES, path: string = 'the bus') {
    super(`${path}: expected ${BUS_REMEDIES[state]}`)
  }
}

/** The bus has no connection yet, or none on which answers could arrive. Nothing was sent. */
export class BusNotReady extends ConcordatError {
  readonly code = 'bus.not_ready' as const
  readonly retryable = true as const

  constructor(waiting: readonly string[]) {
    super(`the bus is not ready: ${waiting.join('; ')}. Check that the broker is up and reachable; it keeps trying.`)
  }
}

/** The `authorize` hook said no: of the sender, and nothing was sent; or of a receiver, and it did nothing. */
export class BusForbidden extends ConcordatError {
  readonly code = 'bus.forbidden' as const
  readonly retryable = false as const
  readonly event: string
  readonly from: string
  readonly to: string

  constructor(event: string, from: string, to: string, cause?: unknown) {
    const why = cause === undefined ? 'is not allowed by' : 'could not be decided by'
    super(
      `${from} -> ${to}: "${event}" ${why} the authorize option of the bus`,
      cause === undefined ? undefined : { cause },
    )
    this.event = event
    this.from = from
    this.to = to
  }
}

/** An event over `maxPayloadBytes`. Nothing was sent. */
export class BusPayloadTooLarge extends ConcordatError {
  readonly code = 'bus.payload_too_large' as const
  readonly retryable = false as const
  readonly bytes: number
  readonly maxBytes: number

  constructor(event: string, bytes: number, maxBytes: number) {
    super(
      `event "${event}" has ${bytes} bytes, over ${maxBytes}: send a reference, or raise maxPayloadBytes everywhere`,
    )
    this.bytes = bytes
    this.maxBytes = maxBytes
  }
}

/** In an acknowledgement: a handler did not finish within `handlerTimeoutMs`. Its signal has aborted. */
export class BusHandlerTimeout extends ConcordatError {
  readonly code = 'bus.handler_timeout' as const
  readonly retryable = true as const

  constructor(event: string, timeoutMs: number) {
    super(`handlers of "${event}" took longer than ${timeoutMs} ms; watch context.signal, or raise handlerTimeoutMs`)
  }
}

/** In an acknowledgement: a built-in event that this instance cannot follow, and what it could. */
export class BusControlRefused extends ConcordatError {
  readonly code = 'bus.control_refused' as const
  readonly retryable = false as const
}

/**
 * A schema that answers with a promise did not settle in time: of an event that was to be published, and nothing was sent; or
 * of a config, which keeps its value.
 */
export class BusSchemaTimeout extends ConcordatError {
  readonly code = 'bus.schema_timeout' as const
  readonly retryable = true as const
  /** Whose schema: `event "name"` or `config "name"`. */
  readonly subject: string
  readonly timeoutMs: number

  constructor(subject: string, timeoutMs: number, option: string) {
    super(`the schema of ${subject} has not answered within ${timeoutMs} ms: let it answer sooner, or raise ${option}`)
    this.subject = subject
    this.timeoutMs = timeoutMs
  }
}
