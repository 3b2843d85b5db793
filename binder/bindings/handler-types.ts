/** Contexts of handlers, for a message and for a batch. */
import type { ContextLogger } from '../../core/logger.ts'
import type { SqlTransaction } from '../../core/sql.ts'
import type { Headers } from '../channel/message.ts'

/** The message a handler works on, beside its payload. */
export interface HandlerContext {
  readonly id: string
  readonly channel: string
  readonly key: string | null
  readonly headers: Headers
  /** When the message was made, epoch ms. */
  readonly time: number
  readonly source: string
  /** Which handler call this is, from 1. Starts again when the process died in between, unless retry is `delayed`. */
  readonly attempt: number
  /** The durable group, `null` when anonymous. */
  readonly group: string | null
  /** Where the message lies on the broker, for logs. */
  readonly position: string
  readonly redelivered: boolean | undefined
  /** Aborts when the message was taken from this process or the drain ran out: stop, the message comes back. */
  readonly signal: AbortSignal
  /** Logs with the message's id, channel and attempt. */
  readonly log: ContextLogger
}

/** The context of a binding with an `inbox`: `tx` is the transaction that also holds the deduplication. */
export interface TransactionContext extends HandlerContext {
  readonly tx: SqlTransaction
}

/**
 * Handles one message. The message is settled after it resolved; what it throws is retried as the binding's options
 * say.
 */
export type Handler<Payload, Context, Result> = (payload: Payload, context: Context) => Result | Promise<Result>

/** Context of each poll of a source. */
export interface SourceContext {
  /** Aborts when the binder closes. */
  readonly signal: AbortSignal
  readonly log: ContextLogger
}

/** A message of a batch. */
export interface BatchItem<Payload> {
  readonly payload: Payload
  /** Same as for a `sink`, with the message's own id, attempt, signal and log. */
  readonly context: HandlerContext
}

/** The call, beside its messages. */
export interface BatchContext {
  readonly channel: string
  readonly group: string | null
  /** Aborts when every message was taken from this process, or the drain ran out of time. */
  readonly signal: AbortSignal
  readonly log: ContextLogger
}

/** The context of a batch with an `inbox`: one transaction for all of its messages. */
export interface BatchTransactionContext extends BatchContext {
  readonly tx: SqlTransaction
}

/**
 * What became of one message: what `Promise.allSettled` says, or `ok`, `produced(outputs)` and `failed(error)`. The value
 * is what a `processorBatch` sends for it; a `sinkBatch` takes no notice of it.
 */
export type BatchOutcome<Value = unknown> =
  | { readonly status: 'fulfilled'; readonly value?: Value }
  | { readonly status: 'rejected'; readonly reason: unknown }

/** Nothing: all were handled. Else one outcome per message, in their order. */
export type BatchResult<Value = unknown> = ReadonlyArray<BatchOutcome<Value>> | undefined | void

/**
 * Handles several messages in one call. Returns one outcome per message in their order, or nothing: all are done. What
 * it throws counts for all of them.
 */
export type BatchHandler<Payload, Context, Value = unknown> = (
  items: ReadonlyArray<BatchItem<Payload>>,
  context: Context,
) => BatchResult<Value> | Promise<BatchResult<Value>>
