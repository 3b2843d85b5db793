/**
 * Contract: control events to every instance of some services.
 *
 *     idle -> started -> closed
 *
 * Promised: an event reaches every addressed instance that is subscribed when it is published, once each, in the order of its
 * sender; a publisher can request which instances handled it, which failed, and which are missing. Not promised: anything to an
 * instance that is down or reconnecting. Nothing is kept for it: it reads its state when it starts (`config` with `load` does).
 * See `docs/coordination/bus.md`.
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
  /** Address of this instance: `service:group:instance`. */
  readonly address: string
  /** Bindings for `createBinder({ bindings })`. */
  readonly bindings: readonly SinkBinding[]
  /** Channels for `createBinder({ sends })`. */
  readonly channels: readonly BusChannel[]

  /**
   * Starts the bus on a binder that was created with `bindings` and `channels`, and has been started. Loads the configs and
   * announces this instance. While the broker is unavailable it resolves and continues in the background: `ready` waits for that.
   * @throws TypeError when the binder lacks them; `bus.closed`
   */
  start(binder: Binder): Promise<void>

  /**
   * Resolves when events arrive and the other instances know this one; with `acks`, when answers arrive, too. @throws
   * `bus.not_ready`
   */
  ready(options?: ReadyOptions): Promise<void>

  /**
   * Sends an event to all instances whose address matches `to`, including this one. Resolves when the broker has confirmed it;
   * with `ack` or `ackTimeoutMs` when all have answered or the time limit has passed.
   * @throws `bus.address`, `bus.forbidden`, `bus.payload_too_large`, SchemaError, `bus.schema_timeout`, `bus.not_ready`,
   * `bus.closed`: nothing was sent; SendError: it may have been sent; `bus.closed`, the reason of the signal: it was sent, and
   * answers are no longer awaited
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

  /** Adds a handler. Returns a function that removes it. @throws TypeError */
  on<In, Out>(event: BusEvent<In, Out>, handler: EventHandler<Out>): () => void

  /** Declares a config whose value follows `ConfigChanged` and `Refresh`. @throws TypeError / RangeError */
  config<S extends StandardSchemaV1>(
    name: string,
    options: ConfigOptions<S>,
  ): WatchedConfig<StandardSchemaV1.InferOutput<S>>

  /** Returns live instances, from the option `members` or from their announcements, including this one. */
  members(): Promise<readonly Address[]>

  /**
   * Requests reports from instances until it is closed: names, states and counters of their bindings. They report only while a
   * watch is open.
   * @throws TypeError / RangeError, `bus.address`, `bus.forbidden`, `bus.not_ready`, `bus.closed`, SendError
   */
  watch(options?: ReportWatchOptions): Promise<ReportWatch>

  /** Returns the health. Cheap, no I/O. */
  health(): BusHealth

  /**
   * Stops intake, lets running handlers finish for `drainTimeoutMs`, announces the departure, rejects calls that wait for answers
   * with `bus.closed`. Call it before the binder's `close`. Idempotent, never rejects.
   */
  close(): Promise<void>
}

/** Instances to watch, and the interval. */
export interface ReportWatchOptions {
  /** Pattern of instances, same as the `to` of an event. @default '**' */
  readonly to?: string | undefined
  /** Interval of each instance's reports. From 1 second to 1 minute. @default 2 seconds */
  readonly everyMs?: number | undefined
}

/** Reports of instances. */
export interface ReportWatch extends AsyncDisposable {
  /**
   * Returns instances that reported within three times `everyMs`, at most 1 000. As trustworthy as the signature of the bus;
   * without one, any client that can write to the broker can invent instances.
   */
  instances(): readonly WatchedInstance[]
  /** Returns the reason why no reports arrive at the moment; `undefined` when they do. */
  trouble(): string | undefined
  /** Ends the watch; the instances stop reporting by themselves. Never rejects. */
  close(): Promise<void>
}

/** Recipients and id of an event. */
export interface PublishOptions {
  /** Pattern of recipients: `orders:**`, `orders:eu:*`, `orders:eu:orders-1`, `**`. */
  readonly to: string
  /** Id of the event; an event sent again with the same id is handled once. 1 to 255 characters. @default a new UUIDv7 */
  readonly id?: string | undefined
  /** Ends the wait; the event may have been sent. */
  readonly signal?: AbortSignal | undefined
}

interface AckTrue extends PublishOptions {
  /** Waits for the answers of the addressed live members. */
  readonly ack: true
  /** Time limit in ms, from the broker's confirm. @default the option of createBus */
  readonly ackTimeoutMs?: number | undefined
}

interface AckWithin extends PublishOptions {
  readonly ack?: true | undefined
  /** Time limit of the wait; implies `ack: true`. */
  readonly ackTimeoutMs: number
}

/** `PublishOptions` that wait for the answers of the addressed live members: `ack: true`, or an `ackTimeoutMs`. */
export type AckedPublishOptions = AckTrue | AckWithin

/** Options of `bus.ready`. */
export interface ReadyOptions {
  /** Time limit. @default 30 seconds */
  readonly timeoutMs?: number | undefined
  /** Ends the wait with the signal's reason. */
  readonly signal?: AbortSignal | undefined
  /** True: also subscribes to answers, which otherwise happens when they are first requested. @default false */
  readonly acks?: boolean | undefined
}

/** Answers to an event: addresses, sorted. */
export interface Acknowledgement {
  readonly id: string
  readonly acked: readonly string[]
  readonly failed: readonly FailedAck[]
  /** Instances that received it and have no handler for it. */
  readonly ignored: readonly string[]
  /** Addressed instances that were live when it was published but have not answered: they may have handled it or not. */
  readonly missing: readonly string[]
}

/** An instance whose handler failed, with the error. */
export interface FailedAck {
  readonly address: string
  readonly error: AckError
}

/** State of this instance on the bus, with its counters. */
export interface BusHealth {
  /**
   * `down`: no events arrive at the moment, a config was not loaded yet, another process has the same address, or a clock is
   * wrong, so signed messages are refused because of their time.
   */
  readonly status: 'up' | 'down' | 'idle' | 'closed'
  readonly detail?: string | undefined
  readonly counters: BusCounters
}

/** Address fields of a member; members of a cluster membership are assignable. */
export type BusMember = AddressParts

/** Counters since the bus was created. */
export interface BusCounters {
  readonly published: number
  /** Events for this instance, without repetitions. */
  readonly received: number
  readonly handled: number
  /** Events whose handler threw or took too long, whose payload did not fit, or that `authorize` refused. */
  readonly failed: number
  /** Failed events that `authorize` refused. */
  readonly refused: number
  /** Events without a handler in this instance. */
  readonly ignored: number
  /** Repetitions, which were not handled again. */
  readonly duplicates: number
  readonly notAddressed: number
  /** Number of times that events may have been missed because the subscription was made again. */
  readonly gaps: number
  readonly dropped: Readonly<Record<BusDropReason, number>>
}

/**
 * Reason why a message was dropped:
 * - `malformed`: not written by a bus
 * - `unsupported`: of a newer version of the protocol
 * - `unsigned`, `forged`: no signature, or one that matches none of the secrets
 * - `stale`: signed, and older or newer than `maxSkewMs` allows
 * - `too_large`: over `maxPayloadBytes`
 */
export type BusDropReason = 'malformed' | 'unsupported' | 'unsigned' | 'forged' | 'stale' | 'too_large'
