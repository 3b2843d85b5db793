/**
 * Checks that each endpoint of this package makes before it acts: the method is POST, the caller is authorized, the body is
 * within its limit, and the endpoint is not at its maximum concurrency. Responses never repeat foreign input, and contain no
 * internal errors.
 */
import { timingSafeEqual } from 'node:crypto'
import type { Clock } from '../../core/clock.ts'
import { invalidOption, toError } from '../../core/errors.ts'
import type { Logger } from '../../core/logger.ts'
import type { FetchHandler } from '../../core/node-http-adapter.ts'
import { readable } from '../../core/thrown-values.ts'
import { readAtMost } from './body.ts'

/** A caller and its request. */
export interface HttpAsking<Asked> {
  readonly headers: Headers
  readonly url: string
  /** The claims in the request's headers. Unproven: check that this caller may make them. */
  readonly asked: Asked
  /** The body, for a signature. @throws HttpProblemError when it is too large */
  readonly body: () => Promise<Uint8Array>
}

/**
 * Authorizes callers. False: 403. An exception counts as an internal failure: 503, and the caller repeats the request. `'none'`:
 * every client that reaches the URL is allowed, because a proxy in front of it decides.
 */
export type HttpAuthorize<Asked> = 'none' | ((asking: HttpAsking<Asked>) => boolean | Promise<boolean>)

/** @throws TypeError when it is missing: there is no default, so an open endpoint is always deliberate */
export function requireAuthorize<Asked>(path: string, authorize: unknown): HttpAuthorize<Asked> {
  if (authorize === 'none' || typeof authorize === 'function') return authorize as HttpAuthorize<Asked>
  throw invalidOption(
    `${path}.authorize`,
    authorize,
    "a function, such as bearer([token]); or 'none' to let anybody in",
  )
}

/**
 * Creates an `authorize` function that accepts `authorization: Bearer <token>` with one of these tokens. Pass several to rotate
 * them; a function is called for each request.
 * @throws TypeError for an empty token
 */
export function bearer(
  tokens: readonly string[] | (() => readonly string[]),
): (asking: { readonly headers: Headers }) => boolean {
  const read = (): readonly Buffer[] => {
    const list = typeof tokens === 'function' ? tokens() : tokens
    if (!Array.isArray(list) || list.length === 0 || list.some((each) => typeof each !== 'string' || each === ''))
      throw new TypeError('bearer: expected at least one token, and no empty one')
    return (list as readonly string[]).map((token) => Buffer.from(`Bearer ${token}`))
  }
  if (typeof tokens !== 'function') read()
  return ({ headers }) => {
    const given = Buffer.from(headers.get('authorization') ?? '')
    return read().some((token) => token.byteLength === given.byteLength && timingSafeEqual(token, given))
  }
}

/** Problem response that replaces the regular one. */
export class HttpProblemError extends Error {
  readonly status: number
  readonly code: string

  constructor(status: number, code: string, message: string) {
    super(message)
    this.status = status
    this.code = code
  }
}

export interface Served<Asked> {
  readonly authorize: HttpAuthorize<Asked>
  readonly maxRequestBytes: number
  readonly timeoutMs: number
  readonly concurrency: number
  readonly clock: Clock
  readonly logger: Logger
  /** Reads the request from the headers alone. @throws HttpProblemError */
  read(request: Request): Asked
  /**
   * Performs the request. @throws HttpProblemError for errors that the caller may see; other errors are logged, and answered 503
   */
  answer(asked: Asked, body: Uint8Array, signal: AbortSignal): Promise<Response>
}

export function serve<Asked>(served: Served<Asked>): FetchHandler {
  const { logger } = served
  let running = 0
  return async (request) => {
    if (running >= served.concurrency) return problem(503, 'saga.http_busy', { 'retry-after': '1' })
    running++
    try {
      return await answer(served, request, () => void running--)
    } catch (thrown) {
      const error = readable(thrown)
      if (error instanceof HttpProblemError) {
        logger.debug({ code: error.code, reason: error.message }, 'request refused')
        return problem(error.status, error.code, error.status === 405 ? { allow: 'POST' } : {})
      }
      logger.error({ err: toError(error) }, 'request failed, it may be made again')
      return problem(503, 'saga.http_failed', { 'retry-after': '1' })
    }
  }
}

/** @param left called once when all work of the request has ended, maybe after the response */
async function answer<Asked>(served: Served<Asked>, request: Request, left: () => void): Promise<Response> {
  const limit = new AbortController()
  const timeout = Promise.withResolvers<never>()
  timeout.promise.catch(() => {})
  const cancel = served.clock.setTimer(served.timeoutMs, () => {
    const late = new HttpProblemError(503, 'saga.http_timeout', `not done within ${served.timeoutMs} ms`)
    limit.abort(late)
    timeout.reject(late)
  })
  const work = readAndAnswer(served, request, limit.signal).finally(() => {
    cancel()
    left()
  })
  work.catch(() => {})
  return Promise.race([work, timeout.promise])
}

async function readAndAnswer<Asked>(served: Served<Asked>, request: Request, signal: AbortSignal): Promise<Response> {
  if (request.method !== 'POST') throw new HttpProblemError(405, 'saga.http_method', 'expected POST')
  const asked = served.read(request)
  let bytes: Promise<Uint8Array> | undefined
  const body = (): Promise<Uint8Array> => {
    if (bytes === undefined) {
      bytes = bodyOf(request, served.maxRequestBytes, signal)
      // The caller may await it later, or never.
      bytes.catch(() => {})
    }
    return bytes
  }
  const { authorize } = served
  const { headers, url } = request
  if (authorize !== 'none' && (await authorize({ headers, url, asked, body })) !== true)
    throw new HttpProblemError(403, 'saga.http_unauthorized', 'not authorised')
  return served.answer(asked, await body(), signal)
}

async function bodyOf(request: Request, maxBytes: number, signal: AbortSignal): Promise<Uint8Array> {
  const tooLarge = new HttpProblemError(413, 'saga.http_too_large', `more than ${maxBytes} bytes (maxRequestBytes)`)
  if (Number(request.headers.get('content-length') ?? 0) > maxBytes) throw tooLarge
  let bytes: Uint8Array | undefined
  try {
    bytes = await readAtMost(request.body as ReadableStream<Uint8Array> | null, maxBytes, signal)
  } catch {
    throw new HttpProblemError(400, 'saga.http_body', 'the body ended too early')
  }
  if (bytes === undefined) throw tooLarge
  return bytes
}

function problem(status: number, code: string, headers: Readonly<Record<string, string>>): Response {
  return json(status, { error: { code } }, headers)
}

export function json(status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): Response {
  return new Response(JSON.stringify(body), {
    status,
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store', ...headers },
  })
}
