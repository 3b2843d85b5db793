/**
 * Behaviour around handlers, `next => handler`. Composed when the binder is made: a binding without any calls its handler
 * as before.
 *
 *   createBinder({ middleware: [a, b] }), sink(channel, { middleware: [c] }, handler)     a(b(c(handler)))
 *
 * Runs for each attempt: inside retries, inside the transaction of an `inbox`, and before outputs are encoded. What it
 * throws is what the handler threw; what it returns is what the handler returned.
 */

import type { Clock } from '../../core/clock.ts'
import { wrongKind } from '../../core/option-checks.ts'
import { notAwaited } from '../../core/unawaited-callbacks.ts'
import type { BatchContext, HandlerContext } from '../bindings/handler-types.ts'

/** A handler as a middleware sees it: any payload, any result, always a promise. */
export type MiddlewareHandler = (payload: unknown, context: HandlerContext) => Promise<unknown>

/** Which binding is being wrapped. */
export interface MiddlewareTarget {
  readonly name: string
  readonly kind: 'sink' | 'processor'
  readonly channel: string
  readonly group: string | null
  /** That of the binder: what waits or measures goes by it, and a test moves it. */
  readonly clock: Clock
}

/** Called once per binding. The outer calls `next` to go on, with the payload and context it wants to be seen. */
export type Middleware = (next: MiddlewareHandler, target: MiddlewareTarget) => MiddlewareHandler

/** @throws TypeError naming what returned no handler */
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

/** The same context, of a message or of a batch, with some fields replaced, for what a middleware hands to `next`. */
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
