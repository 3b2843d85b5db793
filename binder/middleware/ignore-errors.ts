import { toError } from '../../core/errors.ts'
import { requireFunction } from '../../core/options.ts'
import type { Middleware } from './middleware.ts'

/**
 * Takes a message for handled when its handler failed with an error that `isHarmless` says yes to: logged as a `warn`,
 * no further attempt, no dead letter, no outputs. Not with an `inbox`: its transaction would commit half the work.
 * @throws TypeError when `isHarmless` is no function
 */
export function ignoreErrors(isHarmless: (error: Error) => boolean): Middleware {
  requireFunction('ignoreErrors', isHarmless)
  return (next, { name }) =>
    async (payload, context) => {
      try {
        return await next(payload, context)
      } catch (thrown) {
        const error = toError(thrown)
        if (!isHarmless(error)) throw thrown
        context.log.warn({ err: error, binding: name }, 'error ignored')
        return undefined
      }
    }
}
