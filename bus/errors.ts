import { type ErrorClass, type ErrorOf, errorClass } from '../core/define-error-class.ts'

const REMEDIES = {
  'not started':
    'a started bus, got one that is not started: call start(binder) before publishing, or await start() of its service',
  'already started':
    'the first start(binder), got another: call start(binder) once, and make another bus to start again',
  closed: 'an open bus, got one that is closed: publish nothing after close(), or make another with createBus',
  'closed while waiting':
    'an open bus, got one that was closed while the call waited for answers: the event may have been handled, ask the instances what they did',
} as const

/** Fields of a `BusError`, by code. */
export interface BusErrors {
  /** A text is not a valid address or pattern. Nothing was sent. */
  'bus.address': { address: string; expected: string }
  /**
   * The bus is not started, or is closed; or it was closed while the caller waited for acknowledgements. `path` is the called
   * function, such as `bus("shop:a").publish`.
   */
  'bus.closed': { state: keyof typeof REMEDIES; path?: string }
  /** The bus has no connection yet, or none for answers. Nothing was sent. */
  'bus.not_ready': { waiting: readonly string[] }
  /** The `authorize` hook refused: at the sender, and nothing was sent; or at a receiver, which did nothing. */
  'bus.forbidden': { event: string; from: string; to: string }
  /** An event over `maxPayloadBytes`. Nothing was sent. */
  'bus.payload_too_large': { event: string; bytes: number; maxBytes: number }
  /** In an acknowledgement: a handler did not finish within `handlerTimeoutMs`. Its signal has aborted. */
  'bus.handler_timeout': { event: string; timeoutMs: number }
  /** In an acknowledgement: this instance cannot obey a built-in event; the message says what it accepts. */
  'bus.control_refused': { message: string }
  /**
   * A schema that returns a promise did not settle in time: of an event to publish, which was not sent; or of a config, which
   * keeps its value. `subject` is `event "name"` or `config "name"`.
   */
  'bus.schema_timeout': { subject: string; timeoutMs: number; option: string }
}

/** Error of the bus. Its fields depend on its `code`: see `BusErrors`. */
export type BusError<Code extends keyof BusErrors = keyof BusErrors> = ErrorOf<BusErrors, Code>

/** Error of the bus. Its fields depend on its `code`: see `BusErrors`. */
export const BusError: ErrorClass<BusErrors> = errorClass<BusErrors>(
  'BusError',
  {
    'bus.address': ({ address, expected }) => `${address} is no bus address: ${expected}`,
    'bus.closed': ({ state, path = 'the bus' }) => `${path}: expected ${REMEDIES[state]}`,
    'bus.not_ready': ({ waiting }) =>
      `the bus is not ready: ${waiting.join('; ')}. Check that the broker is up and reachable; it keeps trying.`,
    'bus.forbidden': ({ event, from, to }, cause) => {
      const why = cause === undefined ? 'is not allowed by' : 'could not be decided by'
      return `${from} -> ${to}: "${event}" ${why} the authorize option of the bus`
    },
    'bus.payload_too_large': ({ event, bytes, maxBytes }) =>
      `event "${event}" has ${bytes} bytes, over ${maxBytes}: send a reference, or raise maxPayloadBytes everywhere`,
    'bus.handler_timeout': ({ event, timeoutMs }) =>
      `handlers of "${event}" took longer than ${timeoutMs} ms; watch context.signal, or raise handlerTimeoutMs`,
    'bus.control_refused': ({ message }) => message,
    'bus.schema_timeout': ({ subject, timeoutMs, option }) =>
      `the schema of ${subject} has not answered within ${timeoutMs} ms: let it answer sooner, or raise ${option}`,
  },
  ['bus.not_ready', 'bus.handler_timeout', 'bus.schema_timeout'],
)
