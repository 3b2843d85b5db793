/**
 * Behaviour around batch handlers, `next => handler`: a type of its own, since what reads the headers of one message would
 * find none on a list. Else as the middleware of single messages, see there.
 *
 *   createBinder({ batchMiddleware: [a, b] }), sinkBatch(channel, { middleware: [c] }, handler)     a(b(c(handler)))
 */
import type { BatchContext, BatchItem, BatchResult } from '../bindings/handler-types.ts'
import type { Middleware, MiddlewareTarget } from './middleware.ts'

/**
 * A batch handler as a middleware sees it: any payloads, always a promise. What it resolves with fits the items it was
 * given, one outcome for each or nothing.
 */
export type BatchMiddlewareHandler = (
  items: ReadonlyArray<BatchItem<unknown>>,
  context: BatchContext,
) => Promise<BatchResult>

/** Which batch binding is being wrapped. */
export interface BatchMiddlewareTarget extends Omit<MiddlewareTarget, 'kind'> {
  readonly kind: 'sinkBatch' | 'processorBatch'
}

/**
 * Called once per binding. The outer calls `next` to go on, with the items and the context it wants to be seen, and
 * resolves with one outcome for each item that itself was given, or nothing.
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
