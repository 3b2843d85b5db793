import type { Clock } from '../../core/clock.ts'
import { requireInteger } from '../../core/errors.ts'
import { BinderError } from '../errors.ts'
import { type BatchMiddleware, forEither } from './batch-middleware.ts'
import { type Middleware, withContext } from './middleware.ts'

/**
 * Fails an attempt after `timeoutMs` with `binder.handler_timeout` and aborts its `context.signal`; in a batch the whole call,
 * with the signals of its messages. A handler that ignores the signal continues beside the next attempt; it cannot be stopped.
 * @param clock @default the binder's clock
 * @throws RangeError when `timeoutMs` is not a whole number from 1
 */
export function timeout(timeoutMs: number, clock?: Clock): Middleware & BatchMiddleware {
  requireInteger('timeout', timeoutMs, 1, 2 ** 31 - 1)
  const limit = (ofBinder: Clock) => ({ timeoutMs, clock: clock ?? ofBinder })
  return forEither(
    (next, { name, clock }) =>
      (payload, context) =>
        within(limit(clock), name, (late) => next(payload, withContext(context, untilLate(context, late)))),
    (next, { name, clock }) =>
      (items, context) =>
        within(limit(clock), name, (late) =>
          next(
            items.map((item) => ({ ...item, context: withContext(item.context, untilLate(item.context, late)) })),
            withContext(context, untilLate(context, late)),
          ),
        ),
  )
}

/** Created on access, because a batch has many. */
function untilLate(context: { readonly signal: AbortSignal }, late: AbortSignal): { readonly signal: AbortSignal } {
  return {
    get signal() {
      return AbortSignal.any([context.signal, late])
    },
  }
}

function within<Result>(
  { timeoutMs, clock }: { readonly timeoutMs: number; readonly clock: Clock },
  binding: string,
  work: (late: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const late = new AbortController()
  return new Promise((resolve, reject) => {
    const cancel = clock.setTimer(timeoutMs, () => {
      const error = new BinderError('binder.handler_timeout', { binding, timeoutMs })
      reject(error)
      late.abort(error)
    })
    work(late.signal).finally(cancel).then(resolve, reject)
  })
}
