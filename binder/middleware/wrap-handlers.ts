/** Wraps a binding's handler in the middleware of binder and binding. */

import type { BatchBinding, ConsumerBinding } from '../bindings/declarations.ts'
import type { BatchTransactionContext, TransactionContext } from '../bindings/handler-types.ts'
import { checkOutcomes } from '../consuming/batch/check-batch-outcomes.ts'
import type { BatchMiddleware, BatchMiddlewareHandler, BatchMiddlewareTarget } from './batch-middleware.ts'
import { type Middleware, type MiddlewareHandler, type MiddlewareTarget, wrapAll } from './middleware.ts'

/**
 * Returns the binding with its handler wrapped, the first of the list outermost; unchanged if the list is empty.
 * @throws TypeError naming the option and the index
 */
export function wrapHandler(
  binding: ConsumerBinding,
  middleware: readonly Middleware[],
  target: MiddlewareTarget,
): ConsumerBinding {
  if (middleware.length === 0) return binding
  // Wrapped in a promise, even if the handler throws at once.
  const innermost: MiddlewareHandler = async (payload, context) =>
    binding.handler(payload, context as TransactionContext)
  return Object.freeze({ ...binding, handler: wrapAll(innermost, middleware, target) })
}

/**
 * Returns the binding with its handler wrapped, the first of the list outermost; unchanged if the list is empty.
 * @throws TypeError naming the option and the index
 */
export function wrapBatchHandler(
  binding: BatchBinding,
  middleware: readonly BatchMiddleware[],
  target: BatchMiddlewareTarget,
): BatchBinding {
  if (middleware.length === 0) return binding
  const innermost: BatchMiddlewareHandler = async (items, context) => {
    const result: unknown = await binding.handler(items, context as BatchTransactionContext)
    return checkOutcomes(target.name, result, items.length)
  }
  return Object.freeze({ ...binding, handler: wrapAll(innermost, middleware, target) })
}
