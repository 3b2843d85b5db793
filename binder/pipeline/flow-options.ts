/** Options of the parts of a pipeline. */
import type { ConsumerOptions, InboxConsumerOptions, OnceConsumerOptions, Without } from '../bindings/declarations.ts'

/** Options of a part of a pipeline, same as for a `processor`. */
export interface FlowOptions extends ConsumerOptions, Without<'once' | 'inbox'> {
  /** Group whose members share the work. @default the name of the pipeline */
  readonly group?: string | undefined
}

/** Same as `FlowOptions`: writes of the stages through `tx`, the outputs and the deduplication are one transaction. */
export interface OnceFlowOptions extends Omit<OnceConsumerOptions, 'group'>, Pick<FlowOptions, 'group'> {}

/** `OnceFlowOptions` for a binder without a service, with your own inbox. */
export interface InboxFlowOptions extends Omit<InboxConsumerOptions, 'group'>, Pick<FlowOptions, 'group'> {}

/** Options of a part of any kind. */
export type PartOptions = FlowOptions | OnceFlowOptions | InboxFlowOptions

/** A closed window. */
export interface Window<State> {
  /** Key of its messages; `null` without one. */
  readonly key: string | null
  /** Number of messages that it collected, each once. */
  readonly count: number
  /** Result of `add`; `undefined` without `add`. */
  readonly value: State
  /** Epoch ms of the database: with `everyMs` the interval, otherwise from the first message to the last. */
  readonly startsAt: number
  readonly endsAt: number
}

/** Key of a window, and when it closes. */
export interface WindowLimits<Payload, Context> {
  /**
   * Its name in the database, unique in the pipeline, without dots: open windows are found by it after a deployment. @default
   * 'window'
   */
  readonly name?: string | undefined
  /**
   * Returns the key. Messages with different keys have different windows. At most 1,024 characters and 2,048 bytes. @default the
   * key of the message
   */
  readonly key?: ((payload: Payload, context: Context) => string | null) | undefined
  /** Closes with this number of messages. Give `count`, `everyMs` or both. */
  readonly count?: number | undefined
  /** Closes at the end of each interval of this length in ms, counted from 1970 by the database's clock. At most 30 days. */
  readonly everyMs?: number | undefined
}

/** Options of `window` with a value: JSON, stored in the row of the window. */
export interface WindowFold<Payload, Context, State> extends WindowLimits<Payload, Context> {
  /** Returns the value before the first message. */
  readonly initial: () => State
  /**
   * Returns the value with one more message. Must depend only on the previous value and the message, because it is called again
   * after a crash.
   */
  readonly add: (state: State, payload: Payload, context: Context) => State
}

/** Options of `window` that only count. */
export interface WindowCount<Payload, Context> extends WindowLimits<Payload, Context> {
  readonly initial?: undefined
  readonly add?: undefined
}
