import { type Clock, systemClock } from '../../core/clock.ts'
import { ConcordatError, requireInteger } from '../../core/errors.ts'
import { type Middleware, withContext } from './middleware.ts'

/** A handler took longer than `timeout(ms)` allows. Counts as a failed attempt. */
export class HandlerTimeout extends ConcordatError {
  readonly code = 'binder.handler_timeout' as const
  readonly retryable = true as const
  readonly binding: string
  readonly timeoutMs: number

  constructor(binding: string, timeoutMs: number) {
    super(
      `the handler of "${binding}" took longer than ${timeoutMs} ms; hand context.signal to what it waits for, or raise timeout()`,
    )
    this.binding = binding
    this.timeoutMs = timeoutMs
  }
}

/**
 * Fails an attempt after `timeoutMs` with `HandlerTimeout` and aborts its `context.signal`. A handler that heeds no signal
 * goes on by itself, beside the next attempt: nothing can stop it.
 * @param clock @default systemClock
 * @throws RangeError when `timeoutMs` is not a whole number from 1
 */
export function timeout(timeoutMs: number, clock: Clock = systemClock): Middleware {
  requireInteger('timeout', timeoutMs, 1, 2 ** 31 - 1)
  return (next, { name }) =>
    (payload, context) => {
      const late = new AbortController()
      const signal = AbortSignal.any([context.signal, late.signal])
      return new Promise((resolve, reject) => {
        const cancel = clock.setTimer(timeoutMs, () => {
          const error = new HandlerTimeout(name, timeoutMs)
          reject(error)
          late.abort(error)
        })
        next(payload, withContext(context, { signal })).finally(cancel).then(resolve, reject)
      })
    }
}
