/**
 * Behaviour around handlers, `next => handler`. Composed when the binder is created: a binding without middleware calls its
 * handler directly.
 *
 *   createBinder({ middleware: [a, b] }), sink(channel, { middleware: [c] }, handler)     a(b(c(handler)))
 *
 * Runs for each attempt: inside retries, inside the transaction of an `inbox`, and before outputs are encoded. Its errors and
 * results count as those of the handler.
 */

import type { Clock } from '../../core/clock.ts'
import { wrongKind } from '../../core/option-checks.ts'
import { notAwaited } from '../../core/unawaited-callbacks.ts'
import type { BatchContext, HandlerContext } from '../bindings/handler-types.ts'

/** A handler as a middleware sees it: any payload, any result, always a promise. */
export type MiddlewareHandler = (payload: unknown, context: HandlerContext) => Promise<unknown>

/** The binding that is being wrapped. */
export interface MiddlewareTarget {
  readonly name: string
  readonly kind: 'sink' | 'processor'
  readonly channel: string
  readonly group: string | null
  /** Clock of the binder, for waits and measurements, which tests can move. */
  readonly clock: Clock
}

/**
 * Called once per binding. The outer middleware calls `next` to continue, with the payload and context that the inner ones shall
 * see.
 */
export type Middleware = (next: MiddlewareHandler, target: MiddlewareTarget) => MiddlewareHandler

/** @throws TypeError naming the middleware that returned no handler */
export function wrapAll<Handler, Target extends { readonly name: string }>(
  innermost: Handler,
  middleware: ReadonlyArray<(next: Handler, target: Target) => Handler>,
  target: Target,
): Handler {
  return middleware.reduceRight((next, wrap) => wrapOnce(next, wrap, target), innermost)
}

function wrapOnce<Handler, Target extends { readonly name: string }>(
  next: Handler,
  wrap: (next: Handler, target: Target) => Handler,
  target: Target,
): Handler {
  const wrapped = notAwaited(wrap(next, target))
  if (typeof wrapped === 'function') return wrapped
  const what = `middleware ${wrap.name || '(anonymous)'} of "${target.name}"`
  throw wrongKind(what, wrapped, 'a function from it: (next) => (payload, context) => next(payload, context)')
}

/** @throws TypeError naming the option */
export function checkMiddleware<Each>(path: string, middleware: readonly Each[] | undefined): readonly Each[] {
  if (middleware === undefined) return []
  if (!Array.isArray(middleware)) throw wrongKind(path, middleware, 'a list of functions')
  for (const [i, each] of middleware.entries()) {
    if (typeof each !== 'function')
      throw wrongKind(`${path}[${i}]`, each, 'a function: (next) => (payload, context) => ...')
  }
  return middleware
}

/** Returns the context of a message or batch with some fields replaced, for a middleware to pass to `next`. */
export function withContext<C extends HandlerContext>(context: C, fields: Partial<HandlerContext>): C
export function withContext<C extends BatchContext>(context: C, fields: Partial<BatchContext>): C
export function withContext<C extends object>(context: C, fields: object): C {
  return new Proxy(context, {
    get(target, name) {
      if (Object.hasOwn(fields, name)) return Reflect.get(fields, name)
      const value: unknown = Reflect.get(target, name, target)
      return value
    },
  })
}
