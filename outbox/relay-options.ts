import { type Backoff, type BackoffOptions, resolveBackoff } from '../core/backoff.ts'
import { DAY, MINUTE, SECOND } from '../core/clock.ts'
import { requireInteger, requireStorable } from '../core/errors.ts'
import { hasMethods, optionNames, refuseUnknown, wrongKind } from '../core/option-checks.ts'
import type { Resolved } from '../core/resolved-options.ts'
import { RUNTIME_NAMES, type RuntimeOptions, resolveRuntime } from '../core/runtime-options.ts'
import type { SqlListener } from '../core/sql.ts'
import { checkListener } from '../core/sql-options.ts'
import { checkTelemetry, type Telemetry } from '../core/telemetry-interface.ts'
import type { RelayPublisher } from './checked-publisher.ts'
import type { Outbox } from './outbox.ts'

/** Options of `createRelay`. */
export interface RelayOptions extends RuntimeOptions {
  /** Outbox whose messages are published, from `createOutbox`. */
  readonly outbox: Outbox
  /** Sends the messages: a started binder that has their channels (`sends`). */
  readonly publisher: RelayPublisher
  /** Name of this process in lease rows and logs. Need not be unique. @default the outbox's service */
  readonly instance?: string | undefined
  /** Time in ms until a crashed relay is replaced; at least 1 s. @default 10 seconds */
  readonly leaseMs?: number | undefined
  /** Rows per window, 1 to 10 000. @default 1000 */
  readonly batchSize?: number | undefined
  /** Approximate payload bytes per window; multiplied by `partitions` it limits the relay's memory. @default 8 MiB */
  readonly batchBytes?: number | undefined
  /**
   * Maximum pause in ms between polls of idle partitions, i.e. the maximum delay of a message without a wake-up. @default 200; 2
   * seconds while a `listener` is connected and no message has come for a minute
   */
  readonly idlePollMs?: number | undefined
  /** Number of attempts until a message that the broker refuses under its current configuration is parked. @default 10 */
  readonly maxAttempts?: number | undefined
  /** Pauses of a key whose message failed. @default 1 s, doubled, at most 1 minute, 20 % jitter */
  readonly backoff?: BackoffOptions | undefined
  /** How long `close` waits for windows in flight, in ms. @default 10 seconds */
  readonly drainTimeoutMs?: number | undefined
  /** Receives the `NOTIFY` of outboxes with `notifyEveryMs` in other processes. The caller closes it. @default none */
  readonly listener?: SqlListener | undefined
  /** Metrics of this relay and of the messages left in the tables. Its spans are those of the binder. @default none */
  readonly telemetry?: Telemetry | undefined
}

export type ResolvedRelayOptions = Resolved<Omit<RelayOptions, 'backoff'>, 'listener' | 'telemetry'> & {
  /** Maximum pause in ms while additions are announced. */
  readonly listenedPollMs: number
  readonly backoff: Backoff
}

const BACKOFF: Backoff = resolveBackoff('createRelay.backoff', { maxMs: 1 * MINUTE })

const IDLE_POLL_MS = 200
const LISTENED_POLL_MS = 2 * SECOND

const NAMES = optionNames<RelayOptions>({
  ...RUNTIME_NAMES,
  outbox: true,
  publisher: true,
  instance: true,
  leaseMs: true,
  batchSize: true,
  batchBytes: true,
  idlePollMs: true,
  maxAttempts: true,
  backoff: true,
  drainTimeoutMs: true,
  listener: true,
  telemetry: true,
})

/** @throws TypeError / RangeError with the name of the option */
export function resolveRelayOptions(options: RelayOptions): ResolvedRelayOptions {
  const path = 'createRelay'
  refuseUnknown(path, options, NAMES)
  if (!hasMethods(options.outbox, ['addEncoded', 'onAdded'])) {
    throw wrongKind(`${path}.outbox`, options.outbox, 'what createOutbox returned')
  }
  if (!hasMethods(options.publisher, ['publish'])) {
    throw wrongKind(`${path}.publisher`, options.publisher, 'something with publish(messages), such as a binder')
  }
  const idlePollMs = requireInteger(`${path}.idlePollMs`, options.idlePollMs ?? IDLE_POLL_MS, 1)
  return Object.freeze({
    ...resolveRuntime(path, options),
    outbox: options.outbox,
    publisher: options.publisher,
    instance: requireStorable(`${path}.instance`, options.instance ?? options.outbox.service),
    leaseMs: requireInteger(`${path}.leaseMs`, options.leaseMs ?? 10 * SECOND, 1 * SECOND, DAY),
    batchSize: requireInteger(`${path}.batchSize`, options.batchSize ?? 1_000, 1, 10_000),
    batchBytes: requireInteger(`${path}.batchBytes`, options.batchBytes ?? 8 * 1024 * 1024, 1),
    idlePollMs,
    listenedPollMs: options.idlePollMs === undefined ? LISTENED_POLL_MS : idlePollMs,
    maxAttempts: requireInteger(`${path}.maxAttempts`, options.maxAttempts ?? 10, 1),
    backoff: resolveBackoff(`${path}.backoff`, options.backoff, BACKOFF),
    drainTimeoutMs: requireInteger(`${path}.drainTimeoutMs`, options.drainTimeoutMs ?? 10 * SECOND, 0),
    listener: checkListener(`${path}.listener`, options.listener),
    telemetry: checkTelemetry(`${path}.telemetry`, options.telemetry),
  })
}
