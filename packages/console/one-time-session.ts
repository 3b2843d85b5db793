/**
 * Access for a console that runs alone: a token that is printed once, sent by the browser in the fragment of the address (which
 * no server or proxy sees), and exchanged for a cookie and a key. It works once, unless it is your own.
 *
 * Browsers send a cookie to every port of a host, so the cookie alone grants no access: each request must also send the key in a
 * header. The page keeps the key in storage, which belongs to one port.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import { type Clock, HOUR, systemClock } from 'concordat/core'
import { invalidOption, optionNames, refuseUnknown, requireFunction, requireText } from 'concordat/extension'
import type { ConsoleAction, ConsoleAuthorize } from './access.ts'
import { HEADERS } from './browser-protections.ts'
import { Problem } from './problem.ts'

/** Rights and user of a session. */
export interface OneTimeSessionOptions {
  /** Name of the user, recorded in the audit. */
  readonly user: string
  /** Tells whether the action is allowed; `view` always is. @default everything is allowed */
  readonly allow?: ((action: ConsoleAction) => boolean) | undefined
  /** Names of cookies do not distinguish ports: include the port. @default 'concordat-console' */
  readonly cookie?: string | undefined
  /** Your own token, of at least 32 characters: each holder can sign in repeatedly. @default a token that works once */
  readonly token?: string | undefined
  /** @internal */
  readonly clock?: Clock | undefined
}

/** Pass it to `createConsole` as `session`. */
export interface OneTimeSession {
  /** For the fragment: `http://127.0.0.1:4180/#token=...`. */
  readonly token: string
  readonly authorize: ConsoleAuthorize
  /** Returns the cookie and the key for the token. @throws Problem 401 */
  exchange(token: string, path: string): Response
}

export const SESSION_HEADER = 'x-concordat-session'
const LIFE_MS = 12 * HOUR
const MAX_SESSIONS = 100
const MIN_TOKEN = 32
/** Characters allowed in the name of a cookie (RFC 6265). */
const COOKIE = /^[\w!#$%&'*+.^`|~-]+$/
const NAMES = optionNames<OneTimeSessionOptions>({ user: true, allow: true, cookie: true, token: true, clock: true })

/** 256 random bits each; nothing is stored on disk. @throws TypeError, RangeError with the name of the option */
export function oneTimeSession(options: OneTimeSessionOptions): OneTimeSession {
  refuseUnknown('oneTimeSession', options, NAMES)
  const { clock = systemClock } = options
  const user = requireText('oneTimeSession.user', options.user)
  const allow = requireFunction('oneTimeSession.allow', options.allow ?? (() => true))
  const cookie = requireText('oneTimeSession.cookie', options.cookie ?? 'concordat-console')
  if (!COOKIE.test(cookie)) throw invalidOption('oneTimeSession.cookie', cookie, 'the name of a cookie')
  const token = requireText('oneTimeSession.token', options.token ?? secret())
  if (token.length < MIN_TOKEN) throw new RangeError(`oneTimeSession.token: expected at least ${MIN_TOKEN} characters`)
  /** By cookie; the oldest first. */
  const sessions = new Map<string, { readonly at: number; readonly key: string }>()
  let isUsed = false
  const isOurs = (request: Request): boolean => {
    const cookies = (request.headers.get('cookie') ?? '').split(/;\s*/)
    const given = cookies.find((each) => each.startsWith(`${cookie}=`))?.slice(cookie.length + 1) ?? ''
    const key = request.headers.get(SESSION_HEADER) ?? ''
    const isOpen = ([id, session]: readonly [string, { readonly at: number; readonly key: string }]): boolean =>
      equal(given, id) && equal(key, session.key) && clock.monotonic() - session.at < LIFE_MS
    return [...sessions].some(isOpen)
  }
  return Object.freeze({
    token,
    authorize: ({ request, action }) =>
      isOurs(request) ? { user, allow: action === 'view' || allow(action) === true } : undefined,
    exchange: (given: string, path: string) => {
      if (!equal(given, token))
        throw new Problem(
          401,
          'console.unauthenticated',
          'this token is another one: copy the whole address that was printed last',
        )
      if (isUsed && options.token === undefined)
        throw new Problem(
          401,
          'console.unauthenticated',
          'this link was already used: restart the console for a new one',
        )
      isUsed = true
      const [id, key] = [secret(), secret()]
      const [oldest] = sessions.keys()
      if (sessions.size >= MAX_SESSIONS && oldest !== undefined) sessions.delete(oldest)
      sessions.set(id, { at: clock.monotonic(), key })
      const header = `${cookie}=${id}; HttpOnly; SameSite=Strict; Path=${path}`
      return Response.json({ signedIn: true, key }, { headers: { ...HEADERS, 'set-cookie': header } })
    },
  } satisfies OneTimeSession)
}

const secret = (): string => randomBytes(32).toString('base64url')

function equal(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)]
  return left.length === right.length && timingSafeEqual(left, right)
}
