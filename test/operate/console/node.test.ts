import { once } from 'node:events'
import { createServer, get, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { createOperator, type Operator } from '@concordat/cli'
import { type ConsoleOptions, createConsole } from '@concordat/console'
import type { SqlClient } from 'concordat/core'
import { type NodeHandler, toNode } from 'concordat/core'
import { expect, onTestFinished, test } from 'vitest'
import { until } from '../../support/until.ts'

const nothing: SqlClient = {
  query: () => Promise.resolve({ rows: [], rowCount: 0 }),
  transaction: () => Promise.reject(new Error('none here')),
} as unknown as SqlClient

/** Counts its requests. */
function counting() {
  const asked = { groups: 0, doctor: 0 }
  const operator: Operator = {
    ...createOperator({ sql: nothing }),
    groups: async () => [{ channel: 'orders', group: 'stock', lag: ++asked.groups, isCut: false, readers: 1 }],
    doctor: async () => {
      asked.doctor++
      return { status: 'ok', lines: [] }
    },
  }
  return { asked, operator }
}

async function listen(handler: (request: IncomingMessage, response: ServerResponse) => void) {
  const server: Server = createServer(handler).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return { server, origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

function made(options: Partial<ConsoleOptions> = {}) {
  const { asked, operator } = counting()
  const page = createConsole({ operator, authorize: () => ({ user: 'ann', allow: true }), ...options })
  onTestFinished(() => page.close())
  return { page, asked, handler: toNode(page) }
}

const post = async (origin: string, base = '') => {
  const { csrf } = (await (await fetch(`${origin}${base}/api/me`)).json()) as { csrf: string }
  const headers = { 'content-type': 'application/json', 'sec-fetch-site': 'same-origin', 'x-concordat-csrf': csrf }
  const body = JSON.stringify({ role: 'none', reason: 'a test' })
  return fetch(`${origin}${base}/api/leader`, { method: 'POST', headers, body })
}

/** A request as `express.json()` leaves it, with the mount path removed. */
const express =
  (handler: NodeHandler, reads: boolean) =>
  async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    let text = ''
    if (reads) for await (const chunk of request) text += String(chunk)
    const { url = '/' } = request
    const body: unknown = reads ? JSON.parse(text || '{}') : undefined
    handler(Object.assign(request, { originalUrl: url, url: url.replace('/ops', '') || '/', body }), response)
  }

test.each([
  ['before', false],
  ['after', true],
])('as middleware of Express, %s its parser of bodies', async (_, reads) => {
  const { handler } = made({ basePath: '/ops' })
  const middleware = express(handler, reads)
  const { origin } = await listen((request, response) => void middleware(request, response))
  expect((await fetch(`${origin}/ops/api/doctor`)).status).toBe(200)
  // The request was read and reached the operator: there are no locks in this database.
  const answer = await post(origin, '/ops')
  expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([409, 'operate.store_missing'])
})

test('a body that ends too early, and a request that cannot be read, end nothing but themselves', async () => {
  const { handler } = made()
  const { origin } = await listen(handler)
  await fetch(`${origin}/api/leader`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"role":',
    signal: AbortSignal.timeout(5_000),
  })
  const odd = get(`${origin}/api/doctor`, { headers: { host: 'a b' } })
  const [answer] = (await once(odd, 'response')) as [IncomingMessage]
  expect(answer.statusCode).toBe(400)
  answer.resume()
  expect((await fetch(`${origin}/api/doctor`)).status).toBe(200)
})

test('forty tabs cost what one costs, and none costs nothing', async () => {
  const { handler, asked } = made()
  const { origin } = await listen(handler)
  expect(asked.groups).toBe(0)
  const stop = new AbortController()
  const tabs = await Promise.all(
    Array.from({ length: 40 }, () => fetch(`${origin}/api/events`, { signal: stop.signal })),
  )
  const heard = tabs.map(({ body }) => {
    const state = { text: '' }
    const read = async () => {
      for await (const chunk of body ?? []) state.text += Buffer.from(chunk).toString()
    }
    read().catch(() => {})
    return state
  })
  const lags = (text: string) => Array.from(text.matchAll(/"lag":(\d+)/g), ([, lag]) => Number(lag))
  await until('all hear of a third look', () => heard.every(({ text }) => Math.max(0, ...lags(text)) >= 3))
  // `groups` is asked by the part of the letters as well, once.
  expect(asked.groups).toBeLessThanOrEqual(8)
  for (const { text } of heard) expect(text).toMatch(/^retry: 2000\n\nid: \w+-\d+\nevent: snapshot\ndata: \{/)
  stop.abort()
  // Only time can show that no further request comes: two would fit into this wait.
  await new Promise((resolve) => setTimeout(resolve, 1_500))
  const then = asked.groups
  await new Promise((resolve) => setTimeout(resolve, 3_000))
  expect(asked.groups).toBe(then)
})

test('a server closes when the console is closed, though a tab is open', async () => {
  const { page, handler } = made()
  const { server, origin } = await listen(handler)
  const tab = await fetch(`${origin}/api/events`)
  const reader = tab.body?.getReader()
  await reader?.read()
  const closed = once(server, 'close')
  server.close()
  await page.close()
  while ((await reader?.read())?.done === false);
  server.closeIdleConnections()
  await closed
  expect(server.listening).toBe(false)
})

test('a part that fails says so, and the others go on', async () => {
  const { operator } = counting()
  const away = Object.assign(new Error('connect ECONNREFUSED 10.0.0.7:5432'), { code: 'ECONNREFUSED' })
  const broken: Operator = {
    ...operator,
    outbox: { ...operator.outbox, stats: () => Promise.reject(away) } as Operator['outbox'],
  }
  const page = createConsole({ operator: broken })
  onTestFinished(() => page.close())
  const response = await page(new Request('http://localhost/api/events'))
  let text = ''
  for await (const chunk of response.body ?? []) {
    text += Buffer.from(chunk).toString()
    if (text.includes('"groups"') && text.includes('"outbox"')) break
  }
  expect(text).toContain('"problem":{"code":"console.away"')
  expect(text).toContain('"channel":"orders"')
  expect(text).not.toContain('10.0.0.7')
})

test('a picture that is larger than what may wait unsent is sent, and its stream ends and leaves nothing behind', async () => {
  const { operator } = counting()
  const huge = [{ channel: 'c'.repeat(1_200_000), group: 'stock', lag: 1, isCut: false, readers: 1 }]
  const asked = { groups: 0 }
  const page = createConsole({ operator: { ...operator, groups: async () => (asked.groups++, huge) } })
  onTestFinished(() => page.close())
  const open = () => page(new Request('http://localhost/api/events'))
  const first = (await open()).body?.getReader()
  let read = 0
  while (read < 1_200_000) read += (await first?.read())?.value?.byteLength ?? 0
  const second = await open()
  expect(second.status).toBe(200)
  expect((await second.text()).length).toBeGreaterThan(1_200_000)
  await first?.cancel()
  // Only time can show that no further request comes: one would fit into this wait.
  const then = asked.groups
  await new Promise((resolve) => setTimeout(resolve, 2_500))
  expect(asked.groups).toBe(then)
})

test('a request with two Host headers is answered 400: a proxy may have looked at the other one', async () => {
  const { handler } = made()
  const { server } = await listen(handler)
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  socket.write('GET /api/doctor HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n')
  let said = ''
  for await (const chunk of socket) said += String(chunk)
  expect(said).toMatch(/^HTTP\/1\.1 400 /)
})
