/** A console on the shop, asked as its own page asks. */
import { type ConsoleOptions, createConsole } from '@concordat/console'
import { onTestFinished } from 'vitest'
import type { ShopWorld } from './shop-world.ts'

export const ORIGIN = 'http://localhost:4180'
export const everything = () => ({ user: 'ann', allow: true })

export function opened(world: ShopWorld, options: Partial<ConsoleOptions> = {}) {
  const { operator, services, bindings } = world
  const console = createConsole({ operator, services, bindings, ...options })
  onTestFinished(() => console.close())
  const get = (path: string, headers: Record<string, string> = {}, origin = ORIGIN) =>
    console(new Request(`${origin}/${path}`, { headers }))
  const json = async (path: string) => (await get(`api/${path}`)).json() as Promise<never>
  const csrf = async () => ((await json('me')) as { csrf: string }).csrf
  const send = async (path: string, body: unknown, headers: Record<string, string> = {}) =>
    console(
      new Request(`${ORIGIN}/api/${path}`, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'sec-fetch-site': 'same-origin',
          'x-concordat-csrf': await csrf(),
          ...headers,
        },
        body: typeof body === 'string' ? body : JSON.stringify(body),
      }),
    )
  return { console, get, json, send }
}

/** Requests that are wrong in only one point, a saga that does not exist, are not sent. */
export const retry = { saga: 'buy', id: 'none', do: 'retry', reason: 'a test' }
export const status = async (response: Response | Promise<Response>) => {
  const { status, headers } = await response
  return [status, ((await (await response).clone().json()) as { code?: string }).code, headers.get('allow')].filter(
    Boolean,
  )
}
