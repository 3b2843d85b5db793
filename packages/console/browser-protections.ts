/** Browser protections: against other sites, other names of this address, and loading foreign resources. */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { Problem } from './problem.ts'

export const CSRF_HEADER = 'x-concordat-csrf'

/** Headers of every response. The page only loads resources of the console. */
export const HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'cache-control': 'no-store',
}

const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]'])

/**
 * Another name that resolves to this address (DNS rebinding) would give an attacker's page the same origin as the console.
 * @param allowed names without or with a port
 * @throws Problem 421
 */
export function checkHost(request: Request, allowed: readonly string[]): void {
  const { host, hostname } = new URL(request.url)
  if (LOOPBACK.has(hostname) || allowed.includes(host) || allowed.includes(hostname)) return
  throw new Problem(421, 'console.wrong_host', 'this name is not one of `allowedHosts` of createConsole')
}

/**
 * Also for read requests: a page of another site could not see the response, but would cause the same load. @throws Problem 403
 */
export function checkSite(request: Request): void {
  const site = request.headers.get('sec-fetch-site')
  if (site === null || site === 'same-origin' || site === 'none') return
  throw new Problem(403, 'console.cross_site', 'asked from another site')
}

/** On plain HTTP to a host other than loopback, browsers send no `Sec-Fetch-Site`: `Origin` must then be ours. @throws Problem */
export function checkPost(request: Request): void {
  if (!/^application\/json\s*(?:;|$)/i.test(request.headers.get('content-type') ?? ''))
    throw new Problem(415, 'console.not_json', 'expected content-type: application/json')
  const site = request.headers.get('sec-fetch-site')
  if (site === 'same-origin') return
  const origin = request.headers.get('origin') ?? ''
  const isOurs = site === null && URL.canParse(origin) && new URL(origin).host === new URL(request.url).host
  if (!isOurs) throw new Problem(403, 'console.cross_site', 'asked from another site')
}

/** A token that only our page can read, and must send with each action. */
export class CsrfTokens {
  readonly #secret: string

  constructor(secret: string) {
    this.#secret = secret
  }

  of(user: string): string {
    return createHmac('sha256', this.#secret).update(`concordat-console:${user}`).digest('base64url')
  }

  /** @throws Problem 403 */
  check(request: Request, user: string): void {
    const given = Buffer.from(request.headers.get(CSRF_HEADER) ?? '')
    const expected = Buffer.from(this.of(user))
    if (given.length === expected.length && timingSafeEqual(given, expected)) return
    throw new Problem(403, 'console.csrf', `expected the token of ./api/me in ${CSRF_HEADER}: load the page again`)
  }
}

const MAX_POSTS = 20
const WINDOW_MS = 1_000

/** At most 20 actions per second and user. */
export class Pace {
  readonly #counts = new Map<string, number>()
  #since = 0

  /** @throws Problem 429 */
  take(user: string, now: number): void {
    if (now - this.#since >= WINDOW_MS) {
      this.#counts.clear()
      this.#since = now
    }
    const count = (this.#counts.get(user) ?? 0) + 1
    this.#counts.set(user, count)
    if (count > MAX_POSTS) throw new Problem(429, 'console.too_many', `over ${MAX_POSTS} actions in a second`)
  }
}
