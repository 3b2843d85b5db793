/** Data that passes from stage to stage within one handler call. */
import type { TransactionContext } from '../bindings/handler-types.ts'
import type { Addressed } from '../bindings/outputs.ts'

export interface Item {
  readonly payload: unknown
  /** Key of the message, or of the window. */
  readonly key: string | null
  /** Set by `keyBy`: wins over the key that a channel takes from the payload. */
  readonly isKeyed: boolean
}

/** A call of a handler. */
export interface Call {
  readonly context: TransactionContext
  /** In the order in which they were made: their ids follow from their places. */
  readonly outputs: Addressed<unknown>[]
  /** Keys of windows: each is a lock in the database until the transaction is over. */
  readonly keys: Set<string>
}

/** Continues after a stage. */
export type Next = (item: Item, call: Call) => void | Promise<void>
