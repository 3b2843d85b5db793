/**
 * A participant reached by HTTP: its URL, and its requests. The channel defines the command, as for a participant reached by message: both
 * take the same commands, and their fence is the same.
 *
 * The URL comes from code or configuration. No part of a payload, a result or an answer goes into it, and redirects are not followed: the
 * author of an order cannot make the coordinator ask another machine.
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
   * `http:` or `https:`, without a user name. A function is called for each request: for an address that changes. It may
   * change freely between releases: open transactions know the channel's name alone.
   */
  readonly url: HttpUrl
  /**
   * Headers of each request, such as `authorization`. Called for each request, so that a token may be short-lived. Nothing of
   * it is logged. @default none
   */
  readonly headers?: HttpHeaders | undefined
  /** A `fetch` with a proxy, a pool or a client certificate. Must honour `redirect: 'manual'`. @default Node's */
  readonly fetch?: typeof fetch | undefined
  /** Time limit of a request including its answer. It is repeated within the step's `timeoutMs`. @default 10 seconds */
  readonly requestTimeoutMs?: number | undefined
  /**
   * Pauses between requests while none is answered by the participant: it is away, or a proxy answers for it.
   * @default 200 ms, doubled, at most 10 s, half of it random
   */
  readonly retry?: BackoffOptions | undefined
  /** Requests at once from this process. Others wait in line. @default 64 */
  readonly concurrency?: number | undefined
  /** A larger request is not sent: the step fails permanently. @default 1 MiB */
  readonly maxRequestBytes?: number | undefined
  /** A larger answer is not read: the step fails permanently. @default 1 MiB */
  readonly maxResponseBytes?: number | undefined
}

/** A participant that is asked by HTTP: what `to` of `.tcc`, `.command` and `defineBranch` takes beside a channel. */
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
 * A participant that is asked by HTTP instead of by message: `to: httpTarget(paymentCommands, { url, headers })`. On the other
 * side is `httpParticipants`, or a program in any language that keeps docs/reference/wire-format.md.
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
