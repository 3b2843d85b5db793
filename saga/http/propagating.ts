/** Headers for calls to other processes, so that their work becomes part of the surrounding global transaction. */
import { finished, Stream, type Writable } from 'node:stream'
import { toError } from '../../core/errors.ts'
import { runningCode } from '../coordinator/global-transaction.ts'
import { type AnyHeaders, formatTransaction, TRANSACTION_HEADER } from '../wire/transaction-header.ts'

/**
 * The header of the global transaction that the calling code is part of; none outside of one. For a request or a message to a
 * service that shall take part, which reads it by `inheritTransaction`. Wait for the answer of what you call: what it adds
 * after the code has returned is refused.
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

/** Runs code in the transaction that headers name: a coordinator, or a service. */
export interface InheritsTransaction {
  inheritTransaction<T>(headers: AnyHeaders, work: () => T | Promise<T>): Promise<T>
}

/**
 * For `app.use(...)` of Express and `app.addHook('onRequest', ...)` of Fastify: what handles a request is part of the global
 * transaction that the request came with, whose `signal` is kept up to date until the response is sent. A header that is none is
 * answered 400. A Fetch handler needs none of it: `(request) => service.inheritTransaction(request.headers, () => handle(request))`.
 */
export function transactionMiddleware(
  here: InheritsTransaction,
): (request: { readonly headers: AnyHeaders }, response: unknown, next: (error?: Error) => void) => void {
  return (request, response, next) => {
    // Once what comes next has begun, its errors are the framework's.
    let hasBegun = false
    const work = (): Promise<void> => {
      hasBegun = true
      next()
      return sent(response)
    }
    here.inheritTransaction(request.headers, work).then(undefined, (error: unknown) => {
      // oxlint-disable-next-line promise/no-callback-in-promise -- a middleware is told of errors by this call alone
      if (!hasBegun) next(toError(error))
    })
  }
}

/** Resolves when the response has been sent, or its connection is gone: `next` returns while the handler is still at work. */
function sent(response: unknown): Promise<void> {
  const { raw = response } = response as { readonly raw?: unknown }
  return new Promise((resolve) => {
    if (raw instanceof Stream) finished(raw as Writable, () => resolve())
    else resolve()
  })
}
