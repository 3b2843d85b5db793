import { ConcordatError } from '../core/errors.ts'

/**
 * What the broker would not do.
 * - `unavailable`, `timeout`: not reached or not answered in time; whether it arrived is unknown. Try again, same id.
 * - `refused`: the broker said no for now (alarm, quota, not enough replicas). Try again later.
 * - `too_large`, `unroutable`, `mismatch`: will fail again until the message or the configuration changes.
 * - `closed`: the transport was closed by us.
 */
export type TransportErrorKind =
  | 'unavailable'
  | 'timeout'
  | 'refused'
  | 'too_large'
  | 'unroutable'
  | 'mismatch'
  | 'closed'

export class TransportError extends ConcordatError {
  readonly code = 'binder.transport' as const
  readonly retryable: boolean
  readonly kind: TransportErrorKind
  readonly transport: string
  readonly destination: string | undefined

  constructor(fields: {
    transport: string
    kind: TransportErrorKind
    destination?: string
    message: string
    cause?: unknown
  }) {
    super(fields.message, fields.cause === undefined ? undefined : { cause: fields.cause })
    this.kind = fields.kind
    this.retryable = fields.kind === 'unavailable' || fields.kind === 'timeout' || fields.kind === 'refused'
    this.transport = fields.transport
    this.destination = fields.destination
  }
}

/** A `send` that the broker did not confirm. `cause` says why; `retryable` says whether the same call can succeed later. */
export class SendError extends ConcordatError {
  readonly code = 'binder.send' as const
  readonly retryable: boolean
  readonly destination: string
  readonly messageId: string

  constructor(destination: string, messageId: string, cause: Error & { retryable?: boolean }) {
    super(`message ${messageId} to "${destination}" was not confirmed: ${cause.message}`, { cause })
    this.retryable = cause.retryable !== false
    this.destination = destination
    this.messageId = messageId
  }
}

/** The binder is not started, or closed. */
export class BinderClosed extends ConcordatError {
  readonly code = 'binder.closed' as const
  readonly retryable = false as const

  constructor(state: string) {
    const remedy = { 'not started': 'call start() before sending', 'already started': 'call start() once' }
    super(`the binder is ${state}: ${remedy[state as keyof typeof remedy] ?? 'send nothing after close()'}`)
  }
}

/** `ready()` ran out of time. Names the bindings that are not running and why. */
export class BinderNotReady extends ConcordatError {
  readonly code = 'binder.not_ready' as const
  readonly retryable = true as const
  readonly bindings: readonly string[]

  constructor(
    waiting: ReadonlyArray<{ readonly name: string; readonly state: string; readonly error?: string | undefined }>,
  ) {
    const list = waiting.map((b) => `${b.name} is ${b.state}${b.error === undefined ? '' : ` (${b.error})`}`).join('; ')
    super(`not ready: ${list}. Check that the broker is up and reachable; the binder keeps trying.`)
    this.bindings = waiting.map((b) => b.name)
  }
}

/** Thrown by a handler to say: do not try again, dead-letter this message now. */
export class TerminalError extends ConcordatError {
  readonly code = 'binder.terminal' as const
  readonly retryable = false as const
}
