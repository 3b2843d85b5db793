/** Settings of a request to a participant: URL, headers, and size limits. */
import type { Backoff } from '../../core/backoff.ts'
import type { Operation } from '../machine/operation.ts'

/** A request to a participant: the argument of the option `headers` of `httpTarget`. */
export interface HttpCall {
  /** The channel's name. */
  readonly channel: string
  readonly saga: string
  readonly sagaId: string
  readonly step: string
  readonly operation: Operation
  /** The body as sent: for a signature. */
  readonly body: Uint8Array
}

/** Where to: from code or configuration. */
export type HttpUrl = string | URL | (() => string | URL | Promise<string | URL>)

/** Headers of each request, such as `authorization`. */
export type HttpHeaders = (
  call: HttpCall,
) => Readonly<Record<string, string>> | Promise<Readonly<Record<string, string>>>

/** The options of `httpTarget`, complete. */
export interface HttpSettings {
  readonly url: HttpUrl
  readonly headers: HttpHeaders | undefined
  readonly fetch: typeof fetch | undefined
  readonly requestTimeoutMs: number
  readonly retry: Backoff
  readonly concurrency: number
  readonly maxRequestBytes: number
  readonly maxResponseBytes: number
}

/** @throws TypeError; the value is not shown: a user name and a password may be in it */
export function requireHttpUrl(path: string, value: unknown): URL {
  const url = typeof value === 'string' || value instanceof URL ? URL.parse(String(value)) : null
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new TypeError(`${path}: expected an absolute URL with http: or https:`)
  }
  if (url.username !== '' || url.password !== '') {
    throw new TypeError(`${path}: it holds a user name or a password, give them by \`headers\` instead`)
  }
  return url
}
