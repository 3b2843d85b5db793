/**
 * Behaviour around batch handlers, `next => handler`, with its own type because a middleware that reads the headers of one
 * message would find none on a list. Otherwise same as the middleware for single messages.
 *
 *   createBinder({ batchMiddleware: [a, b] }), sinkBatch(channel, { middleware: [c] }, handler)     a(b(c(handler)))
 */
import type { BatchContext, BatchItem, BatchResult } from '../bindings/handler-types.ts'
import type { Middleware, MiddlewareTarget } from './middleware.ts'

/**
 * A batch handler as a middleware sees it: payloads of any type, always a promise. It resolves with one outcome for each given
 * item, or nothing.
 */
export type BatchMiddlewareHandler = (
  items: ReadonlyArray<BatchItem<unknown>>,
  context: BatchContext,
) => Promise<BatchResult>

/** The batch binding that is being wrapped. */
export interface BatchMiddlewareTarget extends Omit<MiddlewareTarget, 'kind'> {
  readonly kind: 'sinkBatch' | 'processorBatch'
}

/**
 * Called once per binding. The outer middleware calls `next` to continue, with the items and the context that the inner ones
 * shall see, and resolves with one outcome for each item that it was given itself, or nothing.
 */
export type BatchMiddleware = (next: BatchMiddlewareHandler, target: BatchMiddlewareTarget) => BatchMiddlewareHandler

/** Combines middleware for both kinds of handlers. */
export function forEither(one: Middleware, batch: BatchMiddleware): Middleware & BatchMiddleware {
  const either = (next: never, target: MiddlewareTarget | BatchMiddlewareTarget): unknown =>
    isBatch(target) ? batch(next, target) : one(next, target)
  return either as Middleware & BatchMiddleware
}

function isBatch(target: MiddlewareTarget | BatchMiddlewareTarget): target is BatchMiddlewareTarget {
  return target.kind === 'sinkBatch' || target.kind === 'processorBatch'
}
