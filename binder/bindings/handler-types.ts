/** Contexts of handlers, for a message and for a batch. */
import type { ContextLogger } from '../../core/logger.ts'
import type { SqlTransaction } from '../../core/sql.ts'
import type { Headers } from '../channel/message.ts'

/** Data of a message besides its payload. */
export interface HandlerContext {
  readonly id: string
  readonly channel: string
  readonly key: string | null
  readonly headers: Headers
  /** Time at which the message was created, epoch ms. */
  readonly time: number
  readonly source: string
  /** Number of this handler call, from 1. Starts again after the process died, unless retry is `delayed`. */
  readonly attempt: number
  /** The durable group, `null` when anonymous. */
  readonly group: string | null
  /** Position of the message on the broker, for logs. */
  readonly position: string
  readonly redelivered: boolean | undefined
  /**
   * Aborts when the broker takes the message from this process, or the drain's time limit passes. Stop then: the message is
   * redelivered.
   */
  readonly signal: AbortSignal
  /** Logs with the message's id, channel and attempt. */
  readonly log: ContextLogger
}

/** Context of a binding with an `inbox`: `tx` is the transaction that also contains the deduplication. */
export interface TransactionContext extends HandlerContext {
  readonly tx: SqlTransaction
}

/**
 * Handles one message. The message is settled after the returned promise resolves. After an error it is retried according to the
 * binding's options.
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

/** Context of a handler call for a batch. */
export interface BatchContext {
  readonly channel: string
  readonly group: string | null
  /** Aborts when the broker takes every message from this process, or the drain's time limit passes. */
  readonly signal: AbortSignal
  readonly log: ContextLogger
}

/** Context of a batch with an `inbox`: one transaction for all of its messages. */
export interface BatchTransactionContext extends BatchContext {
  readonly tx: SqlTransaction
}

/**
 * Outcome of one message: as returned by `Promise.allSettled`, or `ok`, `produced(outputs)` and `failed(error)`. The value is
 * sent by a `processorBatch` and ignored by a `sinkBatch`.
 */
export type BatchOutcome<Value = unknown> =
  | { readonly status: 'fulfilled'; readonly value?: Value }
  | { readonly status: 'rejected'; readonly reason: unknown }

/** Nothing: all were handled. Otherwise one outcome per message, in their order. */
export type BatchResult<Value = unknown> = ReadonlyArray<BatchOutcome<Value>> | undefined | void

/**
 * Handles several messages in one call. Returns one outcome per message in their order, or nothing if all are done. An error that
 * it throws applies to all of them.
 */
export type BatchHandler<Payload, Context, Value = unknown> = (
  items: ReadonlyArray<BatchItem<Payload>>,
  context: Context,
) => BatchResult<Value> | Promise<BatchResult<Value>>
