/**
 * A participant over HTTP: its URL and its requests. The channel defines the command, as for a participant on a broker: both take
 * the same commands and use the same fence.
 *
 * The URL comes from code or configuration. It never contains a part of a payload, a result or a response, and redirects are not
 * followed, so the author of an order cannot make the coordinator call another machine.
 */

import { type Channel, requireChannel } from '../../binder/channel/channel.ts'
import { type Backoff, type BackoffOptions, resolveBackoff } from '../../core/backoff.ts'
import { SECOND } from '../../core/clock.ts'
import { invalidOption, requireInteger } from '../../core/errors.ts'
import { optionNames, refuseUnknown } from '../../core/option-checks.ts'
import type { DirectAsking, DirectTarget } from '../direct/target.ts'
import { SagaError } from '../errors.ts'
import { post } from './post.ts'
import { type HttpHeaders, type HttpSettings, type HttpUrl, requireHttpUrl } from './settings.ts'

/** Options of `httpTarget`. */
export interface HttpTargetOptions {
  /**
   * An `http:` or `https:` URL without a user name. A function is called for each request, for an address that changes. The URL
   * may change freely between releases, because open transactions store only the channel's name.
   */
  readonly url: HttpUrl
  /**
   * Headers of each request, such as `authorization`. A function is called for each request, so that tokens may be short-lived.
   * Headers are never logged. @default none
   */
  readonly headers?: HttpHeaders | undefined
  /** A `fetch` with a proxy, a pool or a client certificate. Must honour `redirect: 'manual'`. @default Node's */
  readonly fetch?: typeof fetch | undefined
  /**
   * Time limit of a request including its response. The request is repeated within the step's `timeoutMs`. @default 10 seconds
   */
  readonly requestTimeoutMs?: number | undefined
  /**
   * Pauses between requests while the participant does not answer, because it is unavailable or a proxy answers in its place.
   * @default 200 ms, doubled, at most 10 s, half of it random
   */
  readonly retry?: BackoffOptions | undefined
  /** Maximum number of concurrent requests of this process; further requests queue. @default 64 */
  readonly concurrency?: number | undefined
  /** Maximum size of a request. A larger one is not sent, and the step fails permanently. @default 1 MiB */
  readonly maxRequestBytes?: number | undefined
  /** Maximum size of a response. A larger one is not read, and the step fails permanently. @default 1 MiB */
  readonly maxResponseBytes?: number | undefined
}

/** A participant over HTTP. `.tcc`, `.command` and `defineBranch` accept it as `to`, instead of a channel. */
export interface HttpTarget<In = unknown> extends DirectTarget<In> {
  readonly http: HttpSettings
}

const NAMES = optionNames<HttpTargetOptions>({
  url: true,
  headers: true,
  fetch: true,
  requestTimeoutMs: true,
  retry: true,
  concurrency: true,
  maxRequestBytes: true,
  maxResponseBytes: true,
})
const RETRY: Backoff = { initialMs: 200, factor: 2, maxMs: 10 * SECOND, jitter: 0.5 }
const MAX_BYTES = 64 * 1_024 * 1_024
const DEFAULTS = Object.freeze({ requestTimeoutMs: 10 * SECOND, concurrency: 64, bytes: 1_024 * 1_024 })

/**
 * Creates a target that calls a participant over HTTP instead of through a broker: `to: httpTarget(paymentCommands, { url,
 * headers })`. The other side is `httpParticipants`, or a program in any language that follows docs/reference/wire-format.md.
 * @throws TypeError / RangeError naming the option
 */
export function httpTarget<In, Out>(channel: Channel<In, Out>, options: HttpTargetOptions): HttpTarget<In> {
  const path = `httpTarget("${requireChannel('httpTarget', channel).name}")`
  refuseUnknown(path, options, NAMES)
  const { url, headers, retry } = options
  if (typeof url !== 'function') requireHttpUrl(`${path}.url`, url)
  for (const name of ['headers', 'fetch'] as const) {
    const given: unknown = options[name]
    if (given !== undefined && typeof given !== 'function') throw invalidOption(`${path}.${name}`, given, 'a function')
  }
  const integer = (name: 'requestTimeoutMs' | 'concurrency', max: number): number =>
    requireInteger(`${path}.${name}`, options[name] ?? DEFAULTS[name], 1, max)
  const bytes = (name: 'maxRequestBytes' | 'maxResponseBytes'): number =>
    requireInteger(`${path}.${name}`, options[name] ?? DEFAULTS.bytes, 1, MAX_BYTES)
  const http: HttpSettings = Object.freeze({
    url,
    headers,
    fetch: options.fetch,
    requestTimeoutMs: integer('requestTimeoutMs', 2 ** 31 - 1),
    retry: resolveBackoff(`${path}.retry`, retry, RETRY),
    concurrency: integer('concurrency', 10_000),
    maxRequestBytes: bytes('maxRequestBytes'),
    maxResponseBytes: bytes('maxResponseBytes'),
  })
  const { concurrency, retry: pauses } = http
  const asking: DirectAsking = {
    concurrency,
    retry: pauses,
    requireSendable: (body) => requireSendable(channel.name, http, body),
    ask: (request, clock, signal) => post(request, http, clock, signal),
  }
  return Object.freeze({ channel: channel as unknown as Channel<In, unknown>, asking: Object.freeze(asking), http })
}

/** @throws `saga.http_too_large` */
function requireSendable(channel: string, { maxRequestBytes }: HttpSettings, body: Uint8Array | null): void {
  const bytes = body?.byteLength ?? 0
  if (bytes > maxRequestBytes) throw new SagaError('saga.http_too_large', { channel, bytes, maxBytes: maxRequestBytes })
}
