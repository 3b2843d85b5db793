import { toError } from '../../core/errors.ts'
import { requireFunction } from '../../core/option-checks.ts'
import { ok } from '../bindings/batch-bindings.ts'
import type { HandlerContext } from '../bindings/handler-types.ts'
import { type BatchOutcome } from '../bindings/handler-types.ts'
import { type BatchMiddleware, forEither } from './batch-middleware.ts'
import type { Middleware } from './middleware.ts'

/**
 * Treats a message as handled when its handler failed with an error for which `isHarmless` returns true: logged as a `warn`,
 * without further attempts, dead letter or outputs. In a batch each message with such an outcome, or all when the handler threw.
 * Not with an `inbox`, whose transaction would commit half the work.
 * @throws TypeError when `isHarmless` is not a function
 */
export function ignoreErrors(isHarmless: (error: Error) => boolean): Middleware & BatchMiddleware {
  requireFunction('ignoreErrors', isHarmless)
  const isIgnored = (thrown: unknown, { log }: Pick<HandlerContext, 'log'>, binding: string): boolean => {
    const error = toError(thrown)
    if (!isHarmless(error)) return false
    log.warn({ err: error, binding }, 'error ignored')
    return true
  }
  return forEither(
    (next, { name }) =>
      async (payload, context) => {
        try {
          return await next(payload, context)
        } catch (thrown) {
          if (!isIgnored(thrown, context, name)) throw thrown
          return undefined
        }
      },
    (next, { name }) =>
      async (items, context) => {
        try {
          const outcomes = await next(items, context)
          return outcomes?.map((outcome, i): BatchOutcome => {
            if (outcome.status === 'fulfilled') return outcome
            return isIgnored(outcome.reason, items[i]?.context ?? context, name) ? ok : outcome
          })
        } catch (thrown) {
          if (!isIgnored(thrown, context, name)) throw thrown
          return undefined
        }
      },
  )
}
