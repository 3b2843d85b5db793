import { counted } from '../core/counted-noun.ts'
import { type ErrorClass, type ErrorOf, errorClass } from '../core/define-error-class.ts'
import { ConcordatError, show } from '../core/errors.ts'

/**
 * Kind of a transport error.
 * - `unavailable`, `timeout`: the broker was not reached or did not answer in time; whether the message arrived is unknown. Try
 *   again with the same id.
 * - `refused`: the broker refused for now (alarm, quota, too few replicas). Try again later.
 * - `too_large`, `unroutable`, `mismatch`: will fail again until the message or the configuration changes.
 * - `closed`: this process closed the transport.
 */
export type TransportErrorKind =
  | 'unavailable'
  | 'timeout'
  | 'refused'
  | 'too_large'
  | 'unroutable'
  | 'mismatch'
  | 'closed'

/**
 * The broker is unavailable, refuses, or cannot take the message. `kind` says which, and so whether the same call may succeed
 * later. Transports construct it.
 */
export class TransportError extends ConcordatError {
  readonly code = 'binder.transport' as const
  readonly retryable: boolean
  readonly kind: TransportErrorKind
  readonly transport: string
  readonly destination: string | undefined
  /** Actual number of partitions of the destination, when it was declared with another number. */
  readonly partitions: number | undefined

  constructor(fields: {
    transport: string
    kind: TransportErrorKind
    destination?: string
    partitions?: number
    message: string
    cause?: unknown
  }) {
    super(fields.message, fields.cause === undefined ? undefined : { cause: fields.cause })
    this.kind = fields.kind
    this.retryable = fields.kind === 'unavailable' || fields.kind === 'timeout' || fields.kind === 'refused'
    this.transport = fields.transport
    this.destination = fields.destination
    this.partitions = fields.partitions
  }
}

/** The destination has another number of partitions than declared. With two numbers a key would be in two places. */
export function partitionMismatch(
  transport: string,
  destination: string,
  partitions: { readonly existing: number; readonly declared: number },
  remedy: string,
  cause?: unknown,
): TransportError {
  const { existing, declared } = partitions
  return new TransportError({
    transport,
    kind: 'mismatch',
    destination,
    partitions: existing,
    message:
      `"${destination}" has ${counted(existing, 'partition')} on ${transport}, this service declares ${declared}: a key would ` +
      `change its partition. Say partitions: ${existing} in its defineChannel, or, to change it, ${remedy}.`,
    ...(cause === undefined ? {} : { cause }),
  })
}

/** The broker did not confirm a `send`. `cause` has the reason; `retryable` says whether the same call can succeed later. */
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

/** Thrown by a handler to dead-letter the message at once, without another attempt. */
export class TerminalError extends ConcordatError {
  readonly code = 'binder.terminal' as const
  readonly retryable = false as const
}

/**
 * Thrown by a responder's handler to refuse a request. The handler is called once, nothing is dead-lettered, an inbox rolls back.
 */
export class RequestRefused extends ConcordatError {
  readonly code = 'binder.request_refused' as const
  readonly retryable = false as const
  /** Reason for programs: `no_stock`. */
  readonly reason: string

  constructor(reason: string, message: string) {
    super(message)
    this.reason = reason
  }
}

const CLOSED_BINDER = 'send nothing after close(), or make another with createBinder or createService'

const CLOSED = {
  'not started':
    'a started binder, got one that is not started: await start() of the binder, or of its service, before the call',
  'already started': 'the first start(), got another: call it once, and make another binder to start again',
  closing: `an open binder, got one that is closing: ${CLOSED_BINDER}`,
  closed: `an open binder, got one that is closed: ${CLOSED_BINDER}`,
} as const

/** Reason why another group would handle a letter twice if it were sent back to the channel. */
export type RedriveRepeats = keyof typeof REPEATS

const REPEATS = {
  settles: 'groups of it may settle in their transactions and would apply the effect again',
  letters: 'the group "redrive" of a channel of dead letters would have the letter twice',
} as const

const CANNOT_SETTLE = {
  transport: (transport: string) =>
    `the transport ${transport} settles in no transaction: use postgresTransport, or an inbox`,
  database: (transport: string) =>
    `the messages of ${transport} do not lie in this database: give this client to postgresTransport as ` +
    '`sql` or `transactionsOf`, or use an inbox',
  channel: () =>
    'a sender that sends again after an answer that was lost would have its effect twice: say `transactional: true` in ' +
    'defineChannel, which refuses such senders, or use an inbox',
  output: (transport: string) =>
    `its output lies on another transport than its input, which is on ${transport}: use an inbox, whose outbox sends there`,
  batch: () =>
    'a batch settles no places in its transaction: use an inbox, or a sink with settlesIn, whose messages share transactions',
  poll: () => 'a pollable settles no place in its transaction: use an inbox, or a sink with settlesIn',
} as const

/** Fields of a `BinderError`, by code. */
export interface BinderErrors {
  /** The binder is not started, or is closed. `path` is the called function, such as `binder("shop").send`. */
  'binder.closed': { state: keyof typeof CLOSED; path?: string }
  /** `ready()` reached its time limit. Names the bindings that are not running, with the reasons. */
  'binder.not_ready': { bindings: readonly string[]; problem: string }
  /** A redrive received no letters although there are some. Letters that it has moved stay moved. */
  'binder.redrive_stalled': { destination: string; waitedMs: number; sent: number; kept: number }
  /**
   * The broker has lost the position of redrives on these dead letters, and an earlier redrive was interrupted: which messages it
   * sent back is unknown. Nothing was changed. `group` is the group at the broker; letters up to `settled` were certainly
   * settled, `undefined`: unknown.
   */
  'binder.redrive_position_unknown': {
    destination: string
    group: string
    settled: string | undefined
    open: { readonly id: string; readonly position: string }
  }
  /**
   * A redrive to every group of a channel would make another group handle the message a second time: a group that may settle
   * without an inbox, or the group `redrive` of a channel of dead letters. Nothing was changed.
   */
  'binder.redrive_would_repeat': { channel: string; group: string; why: RedriveRepeats }
  /**
   * A batch handler returned neither nothing nor one outcome per message. Which messages it handled is unknown: all count as
   * failed, and are dead-lettered without another call.
   */
  'binder.batch_outcomes': { binding: string; returned: string; expected: number }
  /**
   * Messages of a binding with `settlesIn` could have two effects, or none.
   * - `transport`: it cannot settle in transactions
   * - `database`: its messages are not in the database of the handler's transactions
   * - `channel`: its senders may send outside of transactions (declare `transactional: true`)
   * - `output`: its outputs go to another transport of `combineTransports`
   * - `batch`, `poll`: batches and `pollable` cannot settle in transactions
   */
  'binder.cannot_settle_in': { path: string; channel: string; why: keyof typeof CANNOT_SETTLE; transport?: string }
  /** A handler took longer than `timeout(ms)` allows. Counts as a failed attempt. */
  'binder.handler_timeout': { binding: string; timeoutMs: number }
  /**
   * No route has the name in a message, and there is no default. Dead-lettered at once. `route` is the result of `by`;
   * `undefined` when the header was missing.
   */
  'binder.no_route': { channel: string; route: unknown; routes: readonly string[] }
  /**
   * This declaration cannot read the payload's version, given in a header. Dead-lettered at once; redrive it to a reader that
   * can.
   */
  'binder.payload_version': { channel: string; version: unknown; problem: string }
  /** No reply in time. Whether the request was handled is unknown: ask again with the same id, or find out. */
  'binder.request_timeout': { channel: string; timeoutMs: number }
  /** The responder, a service, refused the request or failed. `reason` is the code of its error. */
  'binder.request_failed': { channel: string; responder: string; reason: string; answer: string; retryable: boolean }
  /** A request was repeated under its id after it had been handled and answered. Thrown for the repetition. */
  'binder.request_handled': { id: string; destination: string }
  /** A Kafka batch exceeds its size limit when unpacked, or one of its records does. */
  'binder.kafka.batch_too_large': { maxBytes: number }
  /** A Kafka batch needs a codec whose package is not installed. */
  'binder.kafka.codec_missing': { message: string }
  /** An abandoned consumer must not rejoin its group. `retriable` is kafkajs' word for "try again". */
  'binder.kafka.join_refused': { message: string; retriable: false }
}

/** Error of channels and bindings. Its fields depend on its `code`: see `BinderErrors`. */
export type BinderError<Code extends keyof BinderErrors = keyof BinderErrors> = ErrorOf<BinderErrors, Code>

/** Error of channels and bindings. Its fields depend on its `code`: see `BinderErrors`. */
export const BinderError: ErrorClass<BinderErrors> = errorClass<BinderErrors>(
  'BinderError',
  {
    'binder.closed': ({ state, path = 'the binder' }) => `${path}: expected ${CLOSED[state]}`,
    'binder.not_ready': ({ problem }) =>
      `not ready: ${problem}. Check that the broker is up and reachable; the binder keeps trying.`,
    'binder.redrive_stalled': ({ destination, waitedMs, sent, kept }) =>
      `"${destination}" gave nothing to read for ${waitedMs} ms (${sent} sent back, ${kept} kept so far). ` +
      'Stop whatever else reads it in the group "redrive", check that the broker is up, and run it again.',
    'binder.redrive_position_unknown': ({ destination, group, settled, open }) =>
      `the broker has dropped the position of the group "${group}" on "${destination}", and the redrive ${open.id} was cut off: ` +
      `${settled === undefined ? 'any letter' : `letters behind ${settled}`} before ${open.position} may have been sent back. ` +
      'Look at them with a dry run, and set the offset of the first letter to send: ' +
      `kafka-consumer-groups.sh --group ${group} --topic ${destination} --reset-offsets --to-offset N --execute`,
    'binder.redrive_would_repeat': ({ channel, group, why }) =>
      `redrive of "${channel}" / "${group}" to 'channel': ${REPEATS[why]}. ` +
      "Send the letters to the group that failed, which is the default (to: 'group')",
    'binder.batch_outcomes': ({ binding, returned, expected }) =>
      `the batch handler of "${binding}" returned ${returned} for ${counted(expected, 'message')}: return nothing when all were ` +
      'handled, else one outcome per message in their order, e.g. Promise.allSettled(items.map(handle))',
    'binder.cannot_settle_in': ({ path, why, transport = 'none' }) => `${path}: ${CANNOT_SETTLE[why](transport)}`,
    'binder.handler_timeout': ({ binding, timeoutMs }) =>
      `the handler of "${binding}" took longer than ${timeoutMs} ms; hand context.signal to what it waits for, or raise timeout()`,
    'binder.no_route': ({ channel, route, routes }) =>
      `no route ${show(route)} on "${channel}": there are ${routes.join(', ') || '(none)'}; add it, or a \`default\` handler or 'discard'`,
    'binder.payload_version': ({ channel, version, problem }) =>
      `payload version ${show(version)} of "${channel}": ${problem}`,
    'binder.request_timeout': ({ channel, timeoutMs }) =>
      `no reply to a request on "${channel}" within ${timeoutMs} ms. It may have been handled: ask again with the same id, and check that a responder runs.`,
    'binder.request_failed': ({ channel, responder, reason, answer }) =>
      `"${responder}" answered a request on "${channel}" with ${reason}: ${answer}`,
    'binder.request_handled': ({ id, destination }) =>
      `request ${id} on "${destination}" was handled before, and its reply sent to who asked then: look for what it did`,
    'binder.kafka.batch_too_large': ({ maxBytes }) =>
      `it becomes more than ${maxBytes} bytes: raise maxBatchBytes of the transport if it may, or delete it`,
    'binder.kafka.codec_missing': ({ message }) => message,
    'binder.kafka.join_refused': ({ message }) => message,
  },
  [
    'binder.not_ready',
    'binder.redrive_stalled',
    'binder.handler_timeout',
    'binder.request_timeout',
    'binder.kafka.codec_missing',
  ],
)

/** @param waiting bindings that are not running */
export function notReady(
  waiting: ReadonlyArray<{ readonly name: string; readonly state: string; readonly error?: string | undefined }>,
): BinderError<'binder.not_ready'> {
  const each = waiting.map((b) => `${b.name} is ${b.state}${b.error === undefined ? '' : ` (${b.error})`}`)
  return new BinderError('binder.not_ready', { bindings: waiting.map((b) => b.name), problem: each.join('; ') })
}

/** Error of a message that was not sent to the broker before its deadline. */
export function notTakenInTime(
  transport: string,
  { destination }: { readonly destination: string },
  cause?: Error,
): TransportError {
  const message = `${transport} did not take it in time. It was not handed to the broker; send it again with the same id.`
  return new TransportError({ transport, kind: 'timeout', destination, message, cause })
}
