/** Data that passes between stages within one handler call. */
import type { TransactionContext } from '../bindings/handler-types.ts'
import type { Addressed } from '../bindings/outputs.ts'

export interface Item {
  readonly payload: unknown
  /** Key of the message, or of the window. */
  readonly key: string | null
  /** Set by `keyBy`: takes precedence over the key that a channel takes from the payload. */
  readonly isKeyed: boolean
}

/** A call of a handler. */
export interface Call {
  readonly context: TransactionContext
  /** Outputs in the order of their creation, because their ids derive from their positions. */
  readonly outputs: Addressed<unknown>[]
  /** Keys of windows: each is a lock in the database until the transaction ends. */
  readonly keys: Set<string>
}

/** Continues after a stage. */
export type Next = (item: Item, call: Call) => void | Promise<void>
