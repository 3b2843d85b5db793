/**
 * Sends one request to a participant and interprets the response. There are three cases: the participant's own reply; an error
 * from another program, which is a failed attempt; or no reply, after which the request is repeated. Only the participant knows
 * that nothing was done, so only its own reply can be a refusal.
 *
 * | response                                          | meaning                                         |
 * |---------------------------------------------------|-------------------------------------------------|
 * | 200 with the reply to this command                | that reply                                      |
 * | no connection, a reset, a timeout, 5xx, 408, 425, 429, 2xx with anything else | no reply: the request is repeated |
 * | 3xx, 401, 403, 404 and any other 4xx              | a failed attempt                                |
 * | 400, 405, 413, 414, 415, 422, 431; more than `maxResponseBytes` | a permanent failure                 |
 */
import type { EncodedMessage } from '../../binder/channel/message.ts'
import type { Clock } from '../../core/clock.ts'
import { hasCode, toError } from '../../core/errors.ts'
import { validate } from '../../core/schema.ts'
import { fieldOf } from '../../core/thrown-values.ts'
import { unlessAborted } from '../../core/time-limit.ts'
import type { DirectAnswer, DirectProblem, DirectRequest } from '../direct/target.ts'
import type { SagaReply } from '../wire/reply.ts'
import { type CommandHeaders, replyChannel } from '../wire/wire.ts'
import { readAtMost } from './body.ts'
import { requestHeaders } from './headers.ts'
import { type HttpSettings, requireHttpUrl } from './settings.ts'

const FINAL: ReadonlySet<number> = new Set([400, 405, 413, 414, 415, 422, 431])
const LATER: ReadonlySet<number> = new Set([408, 425, 429])
const MAX_AFTER_SECONDS = 3_600
const OWN_CODE = /^[a-z]{1,20}\.[a-z_]{1,60}$/

/** Sends the request once. Never rejects. @param signal ends it, after which another instance may send the request again */
export async function post(
  request: DirectRequest,
  http: HttpSettings,
  clock: Clock,
  signal: AbortSignal,
): Promise<DirectAnswer> {
  const { channel } = request.target
  const { requestTimeoutMs } = http
  const limit = new AbortController()
  const stop = (): void => limit.abort(signal.reason)
  const cancel = clock.setTimer(requestTimeoutMs, () => limit.abort(new TimedOut(requestTimeoutMs)))
  if (signal.aborted) stop()
  else signal.addEventListener('abort', stop, { once: true })
  let place = `"${channel.name}"`
  try {
    const given = await unlessAborted(limit.signal, urlOf(http))
    const url = requireHttpUrl(`httpTarget(${place}).url`, given)
    // A query may hold a secret.
    place = `${url.origin}${url.pathname}`
    // The user's `fetch` or functions may ignore the signal.
    return await unlessAborted(limit.signal, exchange(request, http, { url, place }, limit.signal))
  } catch (error) {
    return { again: { code: 'saga.http_no_answer', message: `POST ${place}: ${reasonOf(error, limit.signal)}` } }
  } finally {
    cancel()
    signal.removeEventListener('abort', stop)
  }
}

async function exchange(
  { target: { channel }, message, command }: DirectRequest,
  http: HttpSettings,
  { url, place }: { readonly url: URL; readonly place: string },
  signal: AbortSignal,
): Promise<DirectAnswer> {
  const body = message.body ?? new Uint8Array()
  const { saga, sagaId, step, operation } = command
  const call = { channel: channel.name, saga, sagaId, step, operation, body }
  const response = await (http.fetch ?? fetch)(url, {
    method: 'POST',
    headers: headersOf(message, await http.headers?.(call)),
    body: body as Uint8Array<ArrayBuffer>,
    redirect: 'manual',
    signal,
  })
  const bytes = await readAtMost(response.body as ReadableStream<Uint8Array> | null, http.maxResponseBytes)
  // A user's `fetch` followed a redirect in spite of the option, so another server answered.
  if (response.redirected) return redirected(place)
  if (response.status === 200) return answerIn(bytes, command, place, http.maxResponseBytes)
  return statusAnswer(response, codeIn(bytes), place)
}

/** Merges headers. The command's headers override the given ones, regardless of case. */
function headersOf(message: EncodedMessage, given: Readonly<Record<string, string>> = {}): Headers {
  const headers = new Headers({ accept: 'application/json', ...given })
  for (const [name, value] of Object.entries(requestHeaders(message))) headers.set(name, value)
  return headers
}

async function answerIn(
  bytes: Uint8Array | undefined,
  command: CommandHeaders,
  place: string,
  maxBytes: number,
): Promise<DirectAnswer> {
  if (bytes === undefined) {
    const message = `POST ${place}: the answer has more than ${maxBytes} bytes (maxResponseBytes)`
    return { failed: { code: 'saga.http_too_large', message }, final: true }
  }
  const reply = await replyIn(bytes, command)
  if (reply !== undefined) return { reply }
  const message = `POST ${place}: 200 with something that is no answer to this command: is it the participant's URL?`
  return { again: { code: 'saga.http_no_answer', message } }
}

/** Returns `undefined` if the body is not a reply, or is a reply to another command. */
async function replyIn(bytes: Uint8Array, command: CommandHeaders): Promise<SagaReply | undefined> {
  try {
    const { codec, schema } = replyChannel(command.replyTo)
    const reply = await validate('answer', schema, codec.decode(bytes))
    const { saga, sagaId, step, operation, birth } = reply
    const isOfCall = step === command.step && operation === command.operation
    const isOurs = saga === command.saga && sagaId === command.sagaId && isOfCall
    if (!isOurs || (birth !== undefined && birth !== command.birth)) return undefined
    return command.birth === '' ? reply : { ...reply, birth: command.birth }
  } catch {
    return undefined
  }
}

function statusAnswer({ status, headers }: Response, code: string | undefined, place: string): DirectAnswer {
  const said = code === undefined ? '' : ` (${code})`
  const problem = (own: string, what: string): DirectProblem => ({
    code: own,
    message: `POST ${place}: ${status}${said}${what}`,
  })
  if (status >= 300 && status < 400) return redirected(place)
  if (status === 401 || status === 403 || status === 407)
    return { failed: problem('saga.http_unauthorized', ', see `headers` of httpTarget and `authorize`'), final: false }
  if (FINAL.has(status)) return { failed: problem('saga.http_status', ''), final: true }
  if (status >= 400 && status < 500 && !LATER.has(status))
    return { failed: problem('saga.http_status', ''), final: false }
  return { again: problem('saga.http_no_answer', ''), afterMs: afterMs(headers.get('retry-after')) }
}

function redirected(place: string): DirectAnswer {
  const message = `POST ${place}: redirected, and redirects are not followed: give the URL that answers`
  return { failed: { code: 'saga.http_redirect', message }, final: false }
}

/** Reads seconds. A date is ignored, because it depends on the other program's clock. */
function afterMs(value: string | null): number | undefined {
  return value !== null && /^\d{1,6}$/.test(value) ? Math.min(Number(value), MAX_AFTER_SECONDS) * 1_000 : undefined
}

/** Returns the code in a response of a participant of this package. No other foreign text enters errors and logs. */
function codeIn(bytes: Uint8Array | undefined): string | undefined {
  if (bytes === undefined || bytes.byteLength > 4_096) return undefined
  try {
    const { error } = JSON.parse(Buffer.from(bytes).toString()) as { readonly error?: { readonly code?: unknown } }
    return typeof error?.code === 'string' && OWN_CODE.test(error.code) ? error.code : undefined
  } catch {
    return undefined
  }
}

async function urlOf({ url }: HttpSettings): Promise<string | URL> {
  return typeof url === 'function' ? url() : url
}

/** Returns the code of an error. Messages of other programs are omitted, because they may quote a header. */
function reasonOf(error: unknown, signal: AbortSignal): string {
  if (signal.aborted) return toError(signal.reason).message
  const code = fieldOf(fieldOf(error, 'cause'), 'code')
  if (typeof code === 'string') return code
  return hasCode(error, 'ERR_INVALID_URL') ? 'its URL is none' : toError(error).name
}

class TimedOut extends Error {
  constructor(timeoutMs: number) {
    super(`no answer within ${timeoutMs} ms (requestTimeoutMs)`)
  }
}
