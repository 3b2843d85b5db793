/** Headers for calls to other processes, so that their work becomes part of the surrounding global transaction. */
import type { ServerResponse } from 'node:http'
import { finished, Stream } from 'node:stream'
import { toError } from '../../core/errors.ts'
import { runningCode } from '../coordinator/global-transaction.ts'
import { responseFailure } from '../coordinator/joined-global-transaction.ts'
import { type AnyHeaders, formatTransaction, TRANSACTION_HEADER } from '../wire/transaction-header.ts'

/**
 * Returns the header of the global transaction that the calling code is part of, or no header outside of one. Add it to a request
 * or message to a service that should take part and reads it with `inheritTransaction`. Await the response of that service:
 * branches that it calls after the code has returned are refused.
 */
export function transactionHeaders(): Readonly<Record<string, string>> {
  const ref = runningCode()?.ref
  return ref === undefined ? {} : { [TRANSACTION_HEADER]: formatTransaction(ref) }
}

/**
 * A `fetch` that adds the header of the surrounding global transaction to each call. Use it for your own services only: a recipient of the
 * header that reaches a service which reads it can make that service act within the transaction.
 * @param through function that makes the request. @default Node's
 */
export function transactionFetch(through?: typeof fetch): typeof fetch {
  return (input, init) => {
    const send = through ?? fetch
    const own = Object.entries(transactionHeaders())
    if (own.length === 0) return send(input, init)
    const headers = new Headers(init?.headers ?? (input instanceof Request ? input.headers : undefined))
    for (const [name, value] of own) headers.set(name, value)
    return send(input, { ...init, headers })
  }
}

/** Runs code in the transaction that headers name; implemented by coordinators and services. */
export interface InheritsTransaction {
  inheritTransaction<T>(headers: AnyHeaders, work: () => T | Promise<T>): Promise<T>
}

/**
 * Middleware for `app.use(...)` of Express and `app.addHook('onRequest', ...)` of Fastify: the handler of a request takes part in
 * the global transaction named in the request's headers, and the transaction's `signal` stays up to date until the response is
 * sent. A response with a status of 500 or more cancels the transaction before it is sent; a lost connection cancels it, too. An
 * invalid header is answered 400. A Fetch handler needs no middleware: `(request) => service.inheritTransaction(request.headers,
 * () => handle(request))`.
 */
export function transactionMiddleware(
  here: InheritsTransaction,
): (request: { readonly headers: AnyHeaders }, response: unknown, next: (error?: Error) => void) => void {
  return (request, response, next) => {
    const settled = Promise.withResolvers<void>()
    // After `next` was called, the framework handles errors.
    let hasBegun = false
    const work = async (): Promise<void> => {
      hasBegun = true
      const { raw = response } = response as { readonly raw?: unknown }
      const isJoined = runningCode() !== undefined && raw instanceof Stream
      const answered = isJoined ? succeeds(raw as ServerResponse, settled.promise) : undefined
      next()
      await answered
    }
    here
      .inheritTransaction(request.headers, work)
      .catch((error: unknown) => {
        // oxlint-disable-next-line promise/no-callback-in-promise -- a middleware is told of errors by this call alone
        if (!hasBegun) next(toError(error))
      })
      .finally(settled.resolve)
  }
}

/**
 * Resolves when the response has been sent, because `next` returns while the handler still runs. Rejects when the response fails
 * or its connection is lost.
 * @param settled until then, a failed response is not ended
 */
function succeeds(response: ServerResponse, settled: Promise<void>): Promise<void> {
  const end = response.end.bind(response) as (...given: unknown[]) => ServerResponse
  return new Promise((resolve, reject) => {
    const endLater = (...given: unknown[]): ServerResponse => {
      const failure = responseFailure(response.statusCode)
      if (failure === undefined) return end(...given)
      reject(failure)
      void settled.then(() => end(...given))
      return response
    }
    response.end = endLater
    finished(response, (error) => (error ? reject(error) : resolve()))
  })
}
