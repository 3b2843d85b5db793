/** Maps errors to the Java class names that machines use. */
import { fieldOf, messageOf, readable, toError } from 'concordat/extension'

/** Stored form of a service's error. */
export interface Thrown {
  /** Names by which it can be caught: its class and its ancestors, `name`, `code`, and those in `exceptions`. */
  readonly names: readonly string[]
  readonly message: string
  /** The call itself failed to connect, so its request was certainly not sent. Absent: it may have been sent. */
  readonly unsent?: true | undefined
}

/** The errors that a Java class stands for: those of a class, or with this `code` or `name`. */
export type ExceptionClass = string | (new (...args: never[]) => Error)

/** These classes catch any error. */
const ALL: readonly string[] = ['java.lang.Throwable', 'java.lang.Exception', 'java.lang.RuntimeException']
/** System calls that happen before anything is sent. */
const BEFORE_SENDING: ReadonlySet<unknown> = new Set(['connect', 'getaddrinfo'])
const MAX_CAUSES = 20
const MAX_TEXT = 500

const CONNECT_CODES: readonly string[] = ['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN']

/** Error codes of Node's drivers, by their Java exception. */
const NETWORK: ReadonlyArray<readonly [name: string, codes: readonly string[]]> = [
  ['ConnectException', [...CONNECT_CODES, 'ConnectException']],
  ['ConnectTimeoutException', ['UND_ERR_CONNECT_TIMEOUT', 'ConnectTimeoutError', 'ConnectTimeoutException']],
  [
    'SocketTimeoutException',
    [
      'ETIMEDOUT',
      'ESOCKETTIMEDOUT',
      'UND_ERR_HEADERS_TIMEOUT',
      'UND_ERR_BODY_TIMEOUT',
      'TimeoutError',
      'ReadTimeoutException',
      'SocketTimeoutException',
    ],
  ],
]

export function thrownBy(thrown: unknown, classes: Readonly<Record<string, ExceptionClass>>): Thrown {
  const error = readable(thrown)
  const names = new Set(namesOf(error))
  let cause: unknown = error
  for (let depth = 0; depth < MAX_CAUSES && cause !== undefined && cause !== null; depth++) {
    const own = namesOf(cause)
    for (const [name, codes] of NETWORK) if (codes.some((code) => own.includes(code))) names.add(name)
    cause = readable(fieldOf(cause, 'cause'))
  }
  for (const [name, is] of Object.entries(classes)) {
    if (typeof is === 'string' ? names.has(is) : error instanceof is) names.add(name)
  }
  const unsent = isUnsent(error, classes)
  return { names: [...names].map(clean), message: clean(messageOf(toError(error)) ?? ''), ...(unsent && { unsent }) }
}

/**
 * True when the error itself, and not one of its causes, shows that no connection was made: `connect ECONNREFUSED`, or an error
 * of the class or name `ConnectException`. A cause may come from a call that the service made after its own work, and `read
 * EHOSTUNREACH` ends a connection on which the request was sent.
 */
function isUnsent(error: unknown, classes: Readonly<Record<string, ExceptionClass>>): boolean {
  if (typeof error !== 'object' || error === null) return false
  const own = namesOf(error)
  const { ConnectException: declared } = classes
  if (declared !== undefined && (typeof declared === 'string' ? own.includes(declared) : error instanceof declared))
    return true
  if (own.includes('ConnectException')) return true
  if (!CONNECT_CODES.some((code) => own.includes(code))) return false
  if ('syscall' in error) return BEFORE_SENDING.has(error.syscall)
  // Node tries each address of a host: the error has those of all.
  const each = 'errors' in error && Array.isArray(error.errors) ? error.errors : []
  return each.length > 0 && each.every((one) => isUnsent(one, {}))
}

/** Makes text storable in PostgreSQL: without NUL and lone surrogates, and of limited length. */
function clean(text: string): string {
  return text.replaceAll('\0', '').slice(0, MAX_TEXT).toWellFormed()
}

function namesOf(error: unknown): readonly string[] {
  if (typeof error !== 'object' || error === null) return []
  const names: string[] = []
  for (let type: unknown = Object.getPrototypeOf(error); type !== null && type !== Object.prototype; ) {
    const name = fieldOf(fieldOf(type, 'constructor'), 'name')
    if (typeof name === 'string') names.push(name)
    type = Object.getPrototypeOf(type)
  }
  for (const said of [fieldOf(error, 'name'), fieldOf(error, 'code')]) if (typeof said === 'string') names.push(said)
  return names
}

/** True for an exception of this Java class. */
export function isA({ names }: Thrown, javaClass: string): boolean {
  return ALL.includes(javaClass) || names.includes(javaClass) || names.includes(simpleName(javaClass))
}

function simpleName(javaClass: string): string {
  return javaClass.slice(Math.max(javaClass.lastIndexOf('.'), javaClass.lastIndexOf('$')) + 1)
}

/** Phase of a call in which the network failed; `undefined`: it did not fail. */
export function networkFailure({ names }: Thrown): 'connect' | 'connect timeout' | 'read timeout' | undefined {
  if (names.includes('SocketTimeoutException')) return 'read timeout'
  if (names.includes('ConnectTimeoutException')) return 'connect timeout'
  return names.includes('ConnectException') ? 'connect' : undefined
}

/** Error that the engine itself finds in a run. */
export function engineError(code: string, message: string): Thrown {
  return { names: ['EngineExecutionException', code], message: clean(message) }
}
