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
  /** Bindings of the service under test (sinks, processors, sources), as for `createBinder`. */
  readonly bindings: readonly Binding[]
  /**
   * Database for bindings that need a service: `once: true`, participants. The kit creates their tables in the schema
   * `concordat` and publishes what handlers send in their transactions. @default a PGlite in memory, when a binding needs one
   */
  readonly sql?: SqlClient | undefined
  /** @default 'test' */
  readonly service?: string | undefined
  /** Start time of the clock, epoch ms. @default 2026-01-01T00:00:00Z */
  readonly startAt?: number | undefined
  /** @default silentLogger */
  readonly logger?: Logger | undefined
  /** Maximum wait for a handler that does not end, in ms of real time. @default 5 seconds */
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

/** Runs bindings on a broker in memory, with a clock that the test moves and faults on demand. */
export interface TestKit extends AsyncDisposable {
  /** The clock stands still until `advance` or `settled` moves it. Pass it to handlers that take a clock. */
  readonly clock: Clock
  /** The running binder, e.g. for `binding(name).pause()` and `health()`. */
  readonly binder: Binder
  /**
   * Sends messages as another service would. Ids are `message-1`, `message-2`, ... unless given. Resolves when they are
   * accepted.
   */
  send<In, Out>(
    channel: Channel<In, Out>,
    payload: NoInfer<In>,
    options?: SendOptions,
  ): Promise<{ readonly id: string }>
  /**
   * Sends the payloads in a random order that follows from the seed. Payloads of one key keep their order, as on any broker.
   * @returns the order in which they were sent
   */
  sendShuffled<In, Out>(channel: Channel<In, Out>, payloads: ReadonlyArray<NoInfer<In>>, seed: number): Promise<In[]>
  /** Sends an earlier message again with its id, as an at-least-once sender does. */
  duplicate(id: string): Promise<void>
  /** Loses the next acknowledgement on this channel: the message is handled, and delivered again as redelivered. */
  loseNextAck(channel: Pick<Channel, 'name'>): void
  /**
   * Makes the next publish to this channel fail, whoever publishes; the name may be that of a dead letter channel. `refused`:
   * the message does not arrive. `unconfirmed`: it arrives. @default 'refused'
   */
  failNextPublish(channel: Pick<Channel, 'name'>, fault?: PublishFault): void
  /** Breaks every connection: unsettled messages are delivered again. The broker is unreachable until `reconnect`. */
  disconnect(): void
  reconnect(): void
  /** Handles a message of a `pollable`, like `binder.poll`; on an empty channel it resolves without waiting. */
  poll<Payload, Context>(
    binding: PollBinding<Payload, Context>,
    handler: Handler<NoInfer<Payload>, NoInfer<Context>, void>,
  ): Promise<boolean>
  /**
   * Sends dead letters to their group again, like `redrive` of `concordat/binder`, without waiting. `settled` waits for their
   * handlers.
   */
  redrive<In, Out>(channel: Channel<In, Out>, group: string, options?: RedriveOptions): Promise<RedriveReport>
  /**
   * Resolves when every accepted message was handled, dead-lettered or dropped, and every output is published. Moves the clock
   * over pauses between attempts (blocking and delayed), for a rate or for a batch. Polls and messages sent with a delay wait
   * for `advance`. Paused and halted bindings keep their messages.
   * @throws Error when a handler does not end within `patienceMs` of real time, with its name; while the broker is unreachable;
   * when messages create messages without end
   */
  settled(): Promise<void>
  /**
   * Moves the clock. Timers fire in order, and the work that one starts is finished before the next fires. Does not wait for
   * handlers that wait for `clock`; waits for others for at most `patienceMs` of real time.
   */
  advance(durationMs: number): Promise<void>
  /** Messages that handlers and sources sent to this channel so far, in order; without those of `send`. */
  outputs<In, Out>(channel: Channel<In, Out>): Promise<ReadonlyArray<Output<Out>>>
  /** Dead letters of a group so far, in order, with their errors. */
  deadLetters(channel: Pick<Channel, 'name'>, group: string): readonly DeadLetter[]
  close(): Promise<void>
}
