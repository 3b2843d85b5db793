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
  /** The body as sent, for a signature. */
  readonly body: Uint8Array
}

/** URL of the participant, from code or configuration. */
export type HttpUrl = string | URL | (() => string | URL | Promise<string | URL>)

/** Headers of each request, such as `authorization`. */
export type HttpHeaders = (
  call: HttpCall,
) => Readonly<Record<string, string>> | Promise<Readonly<Record<string, string>>>

/** Options of `httpTarget` with all defaults applied. */
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

/** @throws TypeError without the value, which may contain a user name and a password */
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
