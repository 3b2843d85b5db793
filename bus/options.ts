import { checkName } from '../binder/channel/channel.ts'
import { type Clock, MINUTE, SECOND } from '../core/clock.ts'
import { invalidOption, requireInteger } from '../core/errors.ts'
import { newId } from '../core/ids.ts'
import type { Logger } from '../core/logger.ts'
import { optionNames, refuseUnknown, wrongKind } from '../core/option-checks.ts'
import { RUNTIME_NAMES, type RuntimeOptions, resolveRuntime } from '../core/runtime-options.ts'
import { checkTelemetry, type Telemetry } from '../core/telemetry-interface.ts'
import { type Address, DEFAULT_GROUP } from './address.ts'
import type { LogLevel } from './built-in-events.ts'
import type { BusMember } from './bus.ts'
import { type EventSubscription, onEvent } from './define-event.ts'
import { resolveSecrets } from './signature.ts'

/** Sender and action to authorize. As trustworthy as the signature: each holder of the secret can claim any sender. */
export interface AuthorizeRequest {
  /** Name of the event, `concordat.shutdown` for a built-in one. */
  readonly event: string
  readonly from: Address
  /** Pattern of the recipients. */
  readonly to: string
}

/** Options of `createBus`. Its `clock` is also the time of signatures, which `maxSkewMs` compares. */
export interface BusOptions extends RuntimeOptions {
  /** First part of this instance's address. */
  readonly service: string
  /** Second part of the address, e.g. a region. @default 'default' */
  readonly group?: string | undefined
  /** Third part of the address. Unique among the running instances of service and group. @default `<service>-<random>` */
  readonly instance?: string | undefined
  /**
   * Prefix of the bus's channels `<channel>.events`, `.acks`, `.presence`; instances with the same value form one bus. @default
   * 'concordat.bus'
   */
  readonly channel?: string | undefined
  /**
   * Returns live instances, e.g. of a cluster membership. If set, the bus announces nothing and needs no presence channel.
   * @default announcements of the instances
   */
  readonly members?: (() => readonly BusMember[] | Promise<readonly BusMember[]>) | undefined
  /**
   * Secrets: messages are signed with the first, and accepted with any; all others are dropped. At least 32 bytes each. To change
   * the secret without downtime: first accept the new one everywhere, then sign with it, then remove the old one. @default not
   * signed
   */
  readonly secret?: string | readonly string[] | undefined
  /** Called before an event is sent and again before it is handled. An error means no. @default everything is allowed */
  readonly authorize?: ((request: AuthorizeRequest) => boolean | Promise<boolean>) | undefined
  /** Handlers, created by `onEvent`. */
  readonly on?: readonly EventSubscription[] | undefined
  /** Called by `SetLogLevel`. @default sets `logger.level`, if the logger has one, like pino's */
  readonly setLevel?: ((level: LogLevel) => void | Promise<void>) | undefined
  /** Called by `Shutdown`, once, after its acknowledgement was sent. @default `Shutdown` fails */
  readonly onShutdown?: ((request: ShutdownRequest) => void | Promise<void>) | undefined
  /** Time limit of `publish` for answers. @default 5 seconds */
  readonly ackTimeoutMs?: number | undefined
  /**
   * Time limit for the handlers of an event, `authorize`, and the schema of a published event, after which it has failed.
   * @default 30 seconds
   */
  readonly handlerTimeoutMs?: number | undefined
  /** Size limit of an event, as JSON; larger ones are neither sent nor accepted. @default 256 KiB */
  readonly maxPayloadBytes?: number | undefined
  /**
   * With a secret: largest accepted difference between the time of a message and this clock, including transit. @default 1 minute
   */
  readonly maxSkewMs?: number | undefined
  /** How long an event is remembered, to recognise repetitions. At least twice `maxSkewMs`. @default 10 minutes */
  readonly dedupeWindowMs?: number | undefined
  /** Maximum number of remembered events. @default 10 000 */
  readonly dedupeMaxEvents?: number | undefined
  /** Interval of announcements, and of checks for gaps. @default 5 seconds */
  readonly heartbeatMs?: number | undefined
  /** Number of consecutive missed announcements after which an instance is dead. @default 3 */
  readonly missedHeartbeats?: number | undefined
  /** How long `close` lets running handlers finish. @default 10 seconds */
  readonly drainTimeoutMs?: number | undefined
  /**
   * Counts handled and dropped events, measures publishing. The binder records spans of the messages. From `openTelemetry()` of
   * `concordat/core/opentelemetry`. @default none
   */
  readonly telemetry?: Telemetry | undefined
}

/** Argument of `onShutdown`: the requester and the reason. */
export interface ShutdownRequest {
  readonly reason: string | undefined
  readonly from: Address
}

const NAMES = optionNames<BusOptions>({
  service: true,
  group: true,
  instance: true,
  channel: true,
  members: true,
  secret: true,
  authorize: true,
  on: true,
  ...RUNTIME_NAMES,
  setLevel: true,
  onShutdown: true,
  ackTimeoutMs: true,
  handlerTimeoutMs: true,
  maxPayloadBytes: true,
  maxSkewMs: true,
  dedupeWindowMs: true,
  dedupeMaxEvents: true,
  heartbeatMs: true,
  missedHeartbeats: true,
  drainTimeoutMs: true,
  telemetry: true,
})

const DEFAULT_CHANNEL = 'concordat.bus'

const DEFAULTS = {
  ackTimeoutMs: 5 * SECOND,
  handlerTimeoutMs: 30 * SECOND,
  maxPayloadBytes: 256 * 1024,
  maxSkewMs: 1 * MINUTE,
  dedupeWindowMs: 10 * MINUTE,
  dedupeMaxEvents: 10_000,
  heartbeatMs: 5 * SECOND,
  missedHeartbeats: 3,
  drainTimeoutMs: 10 * SECOND,
} satisfies Partial<BusOptions>

type Wholes = Readonly<Record<keyof typeof DEFAULTS, number>>

const DAY_MS = 24 * 60 * MINUTE

export interface ResolvedBus extends Wholes {
  readonly channel: string
  readonly address: Address
  readonly secrets: readonly Buffer[]
  readonly members: BusOptions['members']
  readonly authorize: BusOptions['authorize']
  readonly setLevel: BusOptions['setLevel']
  readonly onShutdown: BusOptions['onShutdown']
  readonly on: readonly EventSubscription[]
  readonly logger: Logger
  readonly telemetry: Telemetry | undefined
  readonly clock: Clock
}

/** Applies the defaults and checks. @throws TypeError / RangeError naming the option, never showing a secret */
export function resolveBus(options: BusOptions): ResolvedBus {
  const path = 'createBus'
  refuseUnknown(path, options, NAMES)
  const service = checkName(`${path}.service`, options.service, 100)
  const maxSkewMs = whole('maxSkewMs', options, 1, DAY_MS)
  return Object.freeze({
    address: Object.freeze({
      service,
      group: checkName(`${path}.group`, options.group ?? DEFAULT_GROUP, 100),
      instance: checkName(`${path}.instance`, options.instance ?? `${service.slice(0, 80)}-${newId().slice(-12)}`, 100),
    }),
    channel: checkName(`${path}.channel`, options.channel ?? DEFAULT_CHANNEL, 180),
    secrets: resolveSecrets(`${path}.secret`, options.secret),
    members: optionalFunction('members', options.members),
    authorize: optionalFunction('authorize', options.authorize),
    setLevel: optionalFunction('setLevel', options.setLevel) ?? levelSetter(options.logger),
    onShutdown: optionalFunction('onShutdown', options.onShutdown),
    on: subscriptions(options.on ?? []),
    ...resolveRuntime('createBus', options),
    telemetry: checkTelemetry('createBus.telemetry', options.telemetry),
    ackTimeoutMs: whole('ackTimeoutMs', options, 1, DAY_MS),
    handlerTimeoutMs: whole('handlerTimeoutMs', options, 1, DAY_MS),
    maxPayloadBytes: whole('maxPayloadBytes', options, 1_024, 64 * 1024 * 1024),
    maxSkewMs,
    dedupeWindowMs: whole('dedupeWindowMs', options, 2 * maxSkewMs, 7 * DAY_MS),
    dedupeMaxEvents: whole('dedupeMaxEvents', options, 100, 10_000_000),
    heartbeatMs: whole('heartbeatMs', options, 10, DAY_MS),
    missedHeartbeats: whole('missedHeartbeats', options, 2, 1_000),
    drainTimeoutMs: whole('drainTimeoutMs', options, 0, DAY_MS),
  })
}

/** Sets the level as for pino, where it is a property of the logger. */
function levelSetter(logger: (Logger & { level?: unknown }) | undefined): BusOptions['setLevel'] {
  if (typeof logger?.level !== 'string') return undefined
  return (level) => {
    logger.level = level
  }
}

function whole(name: keyof Wholes, options: BusOptions, min: number, max: number): number {
  return requireInteger(`createBus.${name}`, options[name] ?? DEFAULTS[name], min, max)
}

function optionalFunction<T>(name: string, value: T): T {
  if (value === undefined || typeof value === 'function') return value
  throw wrongKind(`createBus.${name}`, value, 'a function')
}

function subscriptions(on: readonly EventSubscription[]): readonly EventSubscription[] {
  if (!Array.isArray(on)) throw wrongKind('createBus.on', on, 'a list of what onEvent returned')
  return on.map((each: EventSubscription, i) => {
    if (each?.event === undefined || each.handler === undefined)
      throw invalidOption(`createBus.on[${i}]`, each, 'what onEvent(event, handler) returned')
    return onEvent(each.event, each.handler)
  })
}
