/** Translates Kafka's errors to those of the binder. The only file that knows the protocol's names of errors. */
import { SECOND } from '../../core/clock.ts'
import { toError } from '../../core/errors.ts'
import { TransportError, type TransportErrorKind } from '../errors.ts'
import { failureOf } from '../transport/kit/transport-error-factory.ts'

export const TRANSPORT = 'kafka'

const failure = failureOf(TRANSPORT)

const KINDS: Readonly<Record<string, TransportErrorKind>> = {
  MESSAGE_TOO_LARGE: 'too_large',
  RECORD_LIST_TOO_LARGE: 'too_large',
  UNKNOWN_TOPIC_OR_PARTITION: 'unroutable',
  REQUEST_TIMED_OUT: 'timeout',
  NOT_ENOUGH_REPLICAS: 'refused',
  NOT_ENOUGH_REPLICAS_AFTER_APPEND: 'refused',
  GROUP_MAX_SIZE_REACHED: 'refused',
  KAFKA_STORAGE_ERROR: 'refused',
  // Passwords may change on either side first, and rights are granted and revoked while services run: this resolves without a
  // restart, and is reported until then.
  SASL_AUTHENTICATION_FAILED: 'refused',
  // A clock is corrected while services run.
  INVALID_TIMESTAMP: 'refused',
  CLUSTER_AUTHORIZATION_FAILED: 'refused',
  GROUP_AUTHORIZATION_FAILED: 'refused',
  TOPIC_AUTHORIZATION_FAILED: 'refused',
  TRANSACTIONAL_ID_AUTHORIZATION_FAILED: 'refused',
  INCONSISTENT_GROUP_PROTOCOL: 'mismatch',
  INVALID_CONFIG: 'mismatch',
  INVALID_GROUP_ID: 'mismatch',
  INVALID_PARTITIONS: 'mismatch',
  INVALID_RECORD: 'mismatch',
  INVALID_REPLICATION_FACTOR: 'mismatch',
  INVALID_SESSION_TIMEOUT: 'mismatch',
  INVALID_TOPIC_EXCEPTION: 'mismatch',
  POLICY_VIOLATION: 'mismatch',
  UNSUPPORTED_SASL_MECHANISM: 'mismatch',
  UNSUPPORTED_VERSION: 'mismatch',
}

const REMEDIES: Readonly<Record<TransportErrorKind, string>> = {
  unavailable: 'Check that the brokers are up and reachable.',
  timeout: 'Whether it was done is unknown; try again.',
  refused: 'The broker said no for now; try again later.',
  too_large: 'Send less, or raise max.message.bytes of the topic and maxMessageBytes of the transport.',
  unroutable: 'Create the topic first: give its channel to the binder.',
  mismatch: 'Trying again will not help: check names, settings and rights.',
  closed: 'The transport was closed.',
}

/** A library's knowledge of its own errors. */
export interface DriverErrors {
  /** Kind by the `type` or `name` of an error without a name in the protocol. */
  readonly names: Readonly<Record<string, TransportErrorKind>>
  /** Remedy that replaces a misleading one of the kind. */
  readonly remedyFor: (error: unknown) => string | undefined
}

/** @param attempted action for the message: `publish to "orders"` */
export function toTransportError(
  error: unknown,
  attempted: string,
  destination?: string,
  { names, remedyFor }: DriverErrors = PLAIN,
): TransportError {
  if (error instanceof TransportError) return error
  return transportError(
    kindOf(error, names),
    `${attempted} failed: ${textOf(error)}`,
    destination,
    error,
    remedyFor(error) ?? remedyOf(error),
  )
}

/** Returns the remedy for a failure, if it differs within its kind. */
export function remedyOf(error: unknown): string | undefined {
  if (error instanceof StoodStill) return STOOD_STILL
  if (isDenied(error)) return RIGHTS
  return hasType(error, 'INVALID_TIMESTAMP') ? TIMESTAMP : undefined
}

const TIMESTAMP =
  'The timestamp is out of range for the broker: put the clock of this host or of the broker right (message.timestamp.after.max.ms, 1 hour ' +
  'unless it is set). It is tried again.'

/** The member sent no heartbeat because this process was stopped; the brokers are not the cause. */
export class StoodStill extends Error {
  constructor(stillMs: number) {
    super(
      `the event loop was blocked for ${Math.round(stillMs / SECOND)} s, or the process was stopped, and no heartbeat was sent`,
    )
  }
}

const STOOD_STILL =
  'Let a handler of long computation run in a worker thread, or raise `sessionTimeoutMs` above its time; the place is taken again.'

const RIGHTS = 'Give the user the rights on it (`kafka-acls`): it is tried again.'

/** True if the user lacks rights on the topic, the group or the cluster, which may be granted during retries. */
export function isDenied(error: unknown): boolean {
  return chain(error).some(({ type }) => type?.endsWith('_AUTHORIZATION_FAILED') === true)
}

const PLAIN: DriverErrors = { names: {}, remedyFor: () => undefined }

/** Returns the text. An aggregate says "Topic creation errors", and only its parts name the topic and the reason. */
export function textOf(error: unknown): string {
  const { message } = toError(error)
  const { errors } = error as KafkaError
  if (!Array.isArray(errors) || errors.length === 0) return message
  const parts = errors.slice(0, MAX_PARTS).map((part: unknown) => {
    const { topic } = part as { readonly topic?: unknown }
    return typeof topic === 'string' ? `"${topic}": ${toError(part).message}` : toError(part).message
  })
  return `${message} (${parts.join('; ')})`
}

const MAX_PARTS = 5

export function transportError(
  kind: TransportErrorKind,
  message: string,
  destination?: string,
  cause?: unknown,
  remedy: string = REMEDIES[kind],
): TransportError {
  return failure(kind, `kafka: ${message}. ${remedy}`, { destination, cause })
}

/** Returns the kind. An unknown error counts as an unavailable broker: try again. */
export function kindOf(error: unknown, names: DriverErrors['names'] = {}): TransportErrorKind {
  for (const each of chain(error)) {
    const kind = KINDS[each.type ?? ''] ?? names[each.type ?? ''] ?? names[each.name ?? '']
    if (kind !== undefined) return kind
  }
  return 'unavailable'
}

/** True if the broker wants the group to rejoin; the member keeps its place until it does. */
export function isRebalance(error: unknown): boolean {
  return hasType(error, 'REBALANCE_IN_PROGRESS', 'NOT_COORDINATOR_FOR_GROUP', 'GROUP_LOAD_IN_PROGRESS')
}

/** True if the broker no longer knows this member: its partitions may already have another owner. */
export function isExpelled(error: unknown): boolean {
  return hasType(error, 'UNKNOWN_MEMBER_ID', 'ILLEGAL_GENERATION', 'FENCED_INSTANCE_ID')
}

export function hasType(error: unknown, ...types: readonly string[]): boolean {
  return chain(error).some((each) => types.includes(each.type ?? ''))
}

export interface KafkaError {
  readonly name?: string
  readonly type?: string
  readonly cause?: unknown
  readonly errors?: readonly unknown[]
}

/** Returns the error, its causes, and the parts of an aggregate. */
export function chain(error: unknown): readonly KafkaError[] {
  const found: KafkaError[] = []
  const queue: unknown[] = [error]
  while (queue.length > 0 && found.length < 20) {
    const each = queue.shift()
    if (typeof each !== 'object' || each === null) continue
    const kafka = each as KafkaError
    found.push(kafka)
    queue.push(kafka.cause, ...(Array.isArray(kafka.errors) ? kafka.errors : []))
  }
  return found
}
