import type { Binder, BinderOptions } from '../binder/binder.ts'
import type { Binding, PollBinding } from '../binder/bindings/declarations.ts'
import type { Handler } from '../binder/bindings/handler-types.ts'
import type { Channel } from '../binder/channel/channel.ts'
import type { Headers } from '../binder/channel/message.ts'
import type { SendOptions } from '../binder/channel/message-codec.ts'
import type { DeadLetter } from '../binder/redrive/letter.ts'
import type { RedriveOptions, RedriveReport } from '../binder/redrive/redrive.ts'
import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/logger.ts'
import type { SqlClient } from '../core/sql.ts'
import type { PublishFault } from './faulty-transport.ts'

/** Options of a binder that affect sending and handling; the kit sets the rest. */
type ServiceOptions = Pick<
  BinderOptions,
  'sends' | 'replies' | 'headers' | 'middleware' | 'batchMiddleware' | 'telemetry'
>

/** Options of `createTestKit`. */
export interface TestKitOptions extends ServiceOptions {
  /** Bindings of the service under test: sinks, processors, sources, as `createBinder` gets them. */
  readonly bindings: readonly Binding[]
  /**
   * Database for bindings that need a service: `once: true`, participants. The kit makes their tables in the schema
   * `concordat`, and publishes what handlers send in their transactions. @default a PGlite in memory, when a binding needs one
   */
  readonly sql?: SqlClient | undefined
  /** @default 'test' */
  readonly service?: string | undefined
  /** Where the clock stands at first, epoch ms. @default 2026-01-01T00:00:00Z */
  readonly startAt?: number | undefined
  /** @default silentLogger */
  readonly logger?: Logger | undefined
  /** How long to wait, in real time, for a handler that does not end, in ms. @default 5 seconds */
  readonly patienceMs?: number | undefined
}

/** A message that a handler or source sent. */
export interface Output<Payload> {
  readonly payload: Payload
  readonly id: string
  readonly key: string | null
  readonly headers: Headers
  /** Epoch ms. */
  readonly time: number
}

/** Bindings at work on a broker in memory, with a clock that you move and faults on demand. */
export interface TestKit extends AsyncDisposable {
  /** Time stands still until `advance` or `settled` moves it. For handlers that take a clock. */
  readonly clock: Clock
  /** The binder at work, e.g. for `binding(name).pause()` and `health()`. */
  readonly binder: Binder
  /** Sends as another service would. Ids are `message-1`, `message-2`, ... unless given. Resolves when it is accepted. */
  send<In, Out>(
    channel: Channel<In, Out>,
    payload: NoInfer<In>,
    options?: SendOptions,
  ): Promise<{ readonly id: string }>
  /**
   * Sends these in another order, drawn from the seed; payloads of one key keep theirs, as on any broker.
   * @returns the order in which they were sent
   */
  sendShuffled<In, Out>(channel: Channel<In, Out>, payloads: ReadonlyArray<NoInfer<In>>, seed: number): Promise<In[]>
  /** Sends a message that was sent or put out before once more, with its id: what an at-least-once sender does. */
  duplicate(id: string): Promise<void>
  /** The next acknowledgement on this channel gets lost: the message is handled, and comes again as redelivered. */
  loseNextAck(channel: Pick<Channel, 'name'>): void
  /**
   * The next message that anybody publishes to this channel (by name: also a dead letter channel) gets no confirm.
   * `refused`: it does not arrive. `unconfirmed`: it does. @default 'refused'
   */
  failNextPublish(channel: Pick<Channel, 'name'>, fault?: PublishFault): void
  /** Every connection breaks: what is unsettled comes again. Until `reconnect`, the broker is away. */
  disconnect(): void
  reconnect(): void
  /** Handles a message of a `pollable`, like `binder.poll`; an empty channel is known at once. */
  poll<Payload, Context>(
    binding: PollBinding<Payload, Context>,
    handler: Handler<NoInfer<Payload>, NoInfer<Context>, void>,
  ): Promise<boolean>
  /** Sends dead letters back, as `redrive` of `concordat/binder`, in no time. `settled` waits for their handlers. */
  redrive<In, Out>(channel: Channel<In, Out>, group: string, options?: RedriveOptions): Promise<RedriveReport>
  /**
   * Resolves when everything accepted was handled, dead-lettered or dropped, and every output is out. Pauses between
   * attempts (blocking and delayed), for a rate or a batch are skipped by moving the clock; polls and messages sent with a
   * delay wait for `advance`. Paused and halted bindings keep what they have.
   * @throws Error when a handler does not end within `patienceMs` of real time, naming it; while the broker is away; when
   * messages beget messages without end
   */
  settled(): Promise<void>
  /**
   * Moves the clock: timers fire in order, and what they begin is finished before the next. It does not wait for handlers
   * that wait for `clock`, and for others that do not end only for `patienceMs` of real time.
   */
  advance(durationMs: number): Promise<void>
  /** Messages of handlers and sources on this channel so far, in order; without those of `send`. */
  outputs<In, Out>(channel: Channel<In, Out>): Promise<ReadonlyArray<Output<Out>>>
  /** The dead letters of a group so far, in order, with what happened. */
  deadLetters(channel: Pick<Channel, 'name'>, group: string): readonly DeadLetter[]
  close(): Promise<void>
}
