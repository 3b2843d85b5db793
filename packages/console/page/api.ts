/** The console's API, at paths below the page. */
import type { Me } from '../read-routes.ts'

/** An answer that reports a failure. */
export class Refused extends Error {
  readonly status: number
  readonly code: string

  constructor(status: number, code: string, message: string) {
    super(message)
    this.status = status
    this.code = code
  }
}

/** Answers of the console or a proxy that leave open whether an action was done. */
const UNSURE: ReadonlySet<number> = new Set([0, 502, 503, 504])

/** Problem of an action. An action without an answer may have been done. */
export function ofAction({ status, code, message }: Refused): Refused {
  const isUnsure = UNSURE.has(status) || code === 'console.failed'
  const said = isUnsure ? `${message}. It may have been done, or a part of it: look before you repeat it` : message
  return new Refused(status, code, said)
}

type Query = Readonly<Record<string, string | number | undefined>>

let csrf = ''

/** Storage of this port only, unlike the cookie: see `session.ts`. */
const KEY = 'concordat-session'

/** Sent with every request. */
export function sessionHeaders(): Record<string, string> {
  const key = localStorage.getItem(KEY)
  return key === null ? {} : { 'x-concordat-session': key }
}

export function keepToken(me: Me): void {
  csrf = me.csrf
}

export async function get<T>(name: string, query: Query = {}): Promise<T> {
  const given = Object.entries(query).flatMap(([key, value]) =>
    value === undefined || value === '' ? [] : [[key, String(value)] as [string, string]],
  )
  const text = new URLSearchParams(given).toString()
  return read(await reached(fetch(`./api/${name}${text === '' ? '' : `?${text}`}`, { headers: sessionHeaders() })))
}

export async function post<T>(name: string, body: object): Promise<T> {
  const send = (): Promise<Response> =>
    reached(
      fetch(`./api/${name}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-concordat-csrf': csrf, ...sessionHeaders() },
        body: JSON.stringify(body),
      }),
    )
  const response = await send()
  if (response.status !== 403) return read(response)
  // A restarted console has other tokens. Nothing was done.
  const problem = (await response.clone().json()) as { readonly code?: string }
  if (problem.code !== 'console.csrf') return read(response)
  keepToken(await get<Me>('me'))
  return read(await send())
}

async function reached(sent: Promise<Response>): Promise<Response> {
  try {
    return await sent
  } catch {
    throw new Refused(0, 'console.unreachable', 'the console does not answer')
  }
}

async function read<T>(response: Response): Promise<T> {
  const body = (await response.json().catch(() => ({}))) as { readonly code?: string; readonly message?: string }
  if (response.ok) return body as T
  throw new Refused(response.status, body.code ?? 'console.failed', body.message ?? response.statusText)
}

/** Uses the token of the address at once, and removes it from the history. */
export async function signIn(): Promise<void> {
  const [, token] = /^#token=([\w-]+)$/.exec(location.hash) ?? []
  if (token === undefined) return
  history.replaceState(null, '', `${location.pathname}#/`)
  const signedIn = await post<{ readonly key: string }>('session', { token }).catch(() => undefined)
  if (signedIn !== undefined) localStorage.setItem(KEY, signedIn.key)
}
