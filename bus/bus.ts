/**
 * THE CONTRACT: control events to every instance of some services.
 *
 *     idle -> started -> closed
 *
 * Promised: an event goes to every addressed instance that is subscribed when it is published, once each, in the order of
 * its sender; a publisher that asks hears who has done it, who could not, and who is missing.
 * Not promised: anything to an instance that is down or is just being reconnected. Nothing is kept for it: it reads its
 * state when it starts (`config` with `load` does). See `docs/coordination/bus.md`.
 */
import type { Binder } from '../binder/binder.ts'
import type { SinkBinding } from '../binder/bindings/declarations.ts'
import type { StandardSchemaV1 } from '../core/schema.ts'
import type { Address, AddressParts } from './address.ts'
import type { BusChannel } from './channels.ts'
import type { BusEvent, EventHandler } from './define-event.ts'
import type { AckError } from './outcome.ts'
import type { WatchedInstance } from './reports/latest-instance-reports.ts'
import type { ConfigOptions, WatchedConfig } from './watched-config.ts'

/** An instance on the bus: sends events to instances by address, and handles events for its own address. */
export interface Bus extends AsyncDisposable {
  /** This instance: `service:group:instance`. */
  readonly address: string
  /** For `createBinder({ bindings })`. */
  readonly bindings: readonly SinkBinding[]
  /** For `createBinder({ sends })`. */
  readonly channels: readonly BusChannel[]

  /**
   * Begins to work on a binder that was made with `bindings` and `channels`, and has been started. Loads the configs and
   * says hello. With the broker away it resolves all the same and goes on in the background: `ready` waits for that.
   * @throws TypeError when the binder lacks them; `bus.closed`
   */
  start(binder: Binder): Promise<void>

  /** Resolves when events arrive and the others know of us; with `acks`, when answers arrive too. @throws `bus.not_ready` */
  ready(options?: ReadyOptions): Promise<void>

  /**
   * Sends an event to all instances whose address fits `to`, including this one. Resolves when the broker has confirmed it; with `ack` or
   * `ackTimeoutMs` when all have answered or the time is over.
   * @throws `bus.address`, `bus.forbidden`, `bus.payload_too_large`, SchemaError, `bus.schema_timeout`, `bus.not_ready`, `bus.closed`:
   *   nothing was sent; SendError: it may have been sent; `bus.closed`, the signal's reason: it was sent, and answers are no longer awaited
   */
  publish<In, Out>(
    event: BusEvent<In, Out>,
    payload: NoInfer<In>,
    options: AckedPublishOptions,
  ): Promise<Acknowledgement>
  publish<In, Out>(
    event: BusEvent<In, Out>,
    payload: NoInfer<In>,
    options: PublishOptions,
  ): Promise<{ readonly id: string }>

  /** Adds a handler. Returns the way to take it away. @throws TypeError */
  on<In, Out>(event: BusEvent<In, Out>, handler: EventHandler<Out>): () => void

  /** Declares a config that is read live and follows `ConfigChanged` and `Refresh`. @throws TypeError / RangeError */
  config<S extends StandardSchemaV1>(
    name: string,
    options: ConfigOptions<S>,
  ): WatchedConfig<StandardSchemaV1.InferOutput<S>>

  /** Live instances, from the option `members` or from their announcements; includes this instance. */
  members(): Promise<readonly Address[]>

  /**
   * Asks instances for reports until it is closed: names, states and counters of their bindings. They report only while a watch is
   * open.
   * @throws TypeError / RangeError, `bus.address`, `bus.forbidden`, `bus.not_ready`, `bus.closed`, SendError
   */
  watch(options?: ReportWatchOptions): Promise<ReportWatch>

  /** Cheap, no I/O. */
  health(): BusHealth

  /**
   * Takes nothing more, lets running handlers finish for `drainTimeoutMs`, says goodbye, rejects those who wait for
   * answers with `bus.closed`. Before the binder's `close`. Idempotent, never rejects.
   */
  close(): Promise<void>
}

/** Whom to watch. */
export interface ReportWatchOptions {
  /** Same as the `to` of an event. @default '**' */
  readonly to?: string | undefined
  /** How often each instance reports. From 1 second to 1 minute. @default 2 seconds */
  readonly everyMs?: number | undefined
}

/** Reports of instances. */
export interface ReportWatch extends AsyncDisposable {
  /**
   * Instances that reported within three times `everyMs`, at most 1 000. As trustworthy as the signature of the bus; without one, any
   * client that can write to the broker can invent instances.
   */
  instances(): readonly WatchedInstance[]
  /** Why no reports arrive at the moment. `undefined` when they do. */
  trouble(): string | undefined
  /** Stops asking; the instances stop reporting by themselves. Never rejects. */
  close(): Promise<void>
}

/** To whom an event goes. */
export interface PublishOptions {
  /** `orders:**`, `orders:eu:*`, `orders:eu:orders-1`, `**`. */
  readonly to: string
  /** The same event sent again has the same id, and is handled once. 1 to 255 characters. @default a new UUIDv7 */
  readonly id?: string | undefined
  /** Stops waiting; the event may have been sent. */
  readonly signal?: AbortSignal | undefined
}

interface AckTrue extends PublishOptions {
  /** Wait for the answers of the addressed live members. */
  readonly ack: true
  /** How long, in ms, from the broker's confirm on. @default the option of createBus */
  readonly ackTimeoutMs?: number | undefined
}

interface AckWithin extends PublishOptions {
  readonly ack?: true | undefined
  /** The same as with `ack: true`: wait, and so long. */
  readonly ackTimeoutMs: number
}

/**
 * As `PublishOptions`, and the answers of the addressed live members are waited for: `ack: true`, or an `ackTimeoutMs`.
 */
export type AckedPublishOptions = AckTrue | AckWithin

/** Options of `bus.ready`. */
export interface ReadyOptions {
  /** @default 30 seconds */
  readonly timeoutMs?: number | undefined
  /** Ends the waiting with its reason. */
  readonly signal?: AbortSignal | undefined
  /** Also subscribe to answers, which else happens when they are first asked for. @default false */
  readonly acks?: boolean | undefined
}

/** Addresses, sorted. */
export interface Acknowledgement {
  readonly id: string
  readonly acked: readonly string[]
  readonly failed: readonly FailedAck[]
  /** Got it and have no handler for it. */
  readonly ignored: readonly string[]
  /** Addressed, live when it was published, and not heard of: they may have handled it or not. */
  readonly missing: readonly string[]
}

/** An instance whose handler failed, and why. */
export interface FailedAck {
  readonly address: string
  readonly error: AckError
}

/** The state of this instance on the bus, with what it counted. */
export interface BusHealth {
  /** `down`: no events arrive at the moment, a config was not loaded yet, another process has our address, or a clock is wrong: signed messages are refused for their time. */
  readonly status: 'up' | 'down' | 'idle' | 'closed'
  readonly detail?: string | undefined
  readonly counters: BusCounters
}

/** The address fields of a member; a cluster membership's members fit. */
export type BusMember = AddressParts

/** Since the bus was made. */
export interface BusCounters {
  readonly published: number
  /** Events for this instance, heard for the first time. */
  readonly received: number
  readonly handled: number
  /** A handler threw or took too long, the payload did not fit, or `authorize` said no. */
  readonly failed: number
  /** Failed events that `authorize` refused. */
  readonly refused: number
  /** Events without a handler here. */
  readonly ignored: number
  /** Heard again, and not handled again. */
  readonly duplicates: number
  readonly notAddressed: number
  /** How often events may have been missed because the subscription was made anew. */
  readonly gaps: number
  readonly dropped: Readonly<Record<BusDropReason, number>>
}

/**
 * - `malformed`: not what a bus writes
 * - `unsupported`: of a newer version of the protocol
 * - `unsigned`, `forged`: no signature, or one that fits none of the secrets
 * - `stale`: signed, and older or newer than `maxSkewMs` allows
 * - `too_large`: over `maxPayloadBytes`
 */
export type BusDropReason = 'malformed' | 'unsupported' | 'unsigned' | 'forged' | 'stale' | 'too_large'
