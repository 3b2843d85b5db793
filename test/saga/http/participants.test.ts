/**
 * A participant's URL under requests from strangers, requests that are no commands, and too large or too many requests.
 */
import { migrateParticipant, Refusal } from 'concordat/saga'
import { bearer, httpParticipants } from 'concordat/saga/http'
import { type TccHandlers } from 'concordat/saga/tcc'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { HttpParticipantsOptions } from '../../support/inside/saga.ts'
import type { Move } from '../support/bank.ts'
import { commandHeaders } from '../support/delivery.ts'
import { bankSide, countOf, keepingLogger } from '../support/http-world.ts'
import { closeEmbedded, embedded, openEmbedded } from '../support/world.ts'

const schema = 'http_side'
const calls: string[] = []

beforeAll(async () => {
  await openEmbedded()
  await migrateParticipant(embedded(), schema)
}, 120_000)
afterAll(closeEmbedded)
afterEach(() => void calls.splice(0))

let ids = 0

function setup(options: Partial<HttpParticipantsOptions> = {}, handlers: Partial<TccHandlers<Move>> = {}) {
  const handler = httpParticipants([bankSide(handlers, calls)], {
    authorize: 'none',
    sql: embedded(),
    schema,
    ...options,
  })
  const id = `a-${++ids}`
  /** Sends a command that is valid except for the given parts. */
  const ask = async (
    given: Record<string, string> = {},
    body: string | ReadableStream = '{"account":"a","cents":5}',
  ) => {
    const headers = new Headers({
      'content-type': 'application/json',
      ...Object.fromEntries(Object.entries(commandHeaders(id, 'invoke')).map(([name, value]) => [name, String(value)])),
      'saga-kind': 'tcc',
      'ce-type': 'bank.commands',
      ...given,
    })
    for (const [name, value] of Object.entries(given)) if (value === '') headers.delete(name)
    const response = await handler(
      new Request('http://bank/saga', { method: 'POST', headers, body, duplex: 'half' } as RequestInit),
    )
    return {
      status: response.status,
      headers: response.headers,
      body: (await response.json()) as Record<string, unknown>,
    }
  }
  return { handler, ask, id }
}

describe('the authorization of a participant’s callers', () => {
  test.for([undefined, true, 'all', null])('authorize: %s is refused: open access must be explicit', (authorize) => {
    const options = { sql: embedded(), authorize } as unknown as HttpParticipantsOptions
    expect(() => httpParticipants([bankSide({}, [])], options)).toThrow(
      /httpParticipants\.authorize: expected a function/,
    )
  })

  test('an unauthorized caller gets 403, and nothing is done, not even in the fence', async () => {
    const before = await countOf(embedded(), `${schema}.saga_barrier`)
    const { ask } = setup({ authorize: bearer(['right', 'next']) })
    for (const authorization of ['', 'Bearer wrong', 'Bearer righ', 'right', 'Bearer '])
      expect(await ask({ authorization })).toMatchObject({
        status: 403,
        body: { error: { code: 'saga.http_unauthorized' } },
      })
    expect(calls).toEqual([])
    expect(await countOf(embedded(), `${schema}.saga_barrier`)).toBe(before)
    expect(await ask({ authorization: 'Bearer next' })).toMatchObject({ status: 200, body: { status: 'ok' } })
  })

  test('authorize gets the service and the command, and may read the body', async () => {
    const asked: unknown[] = []
    const { ask, id } = setup({
      authorize: async ({ asked: { channel, service, saga, sagaId, step, operation }, headers, body }) => {
        const text = Buffer.from(await body()).toString()
        asked.push({ channel, service, saga, sagaId, step, operation, text, credential: headers.get('authorization') })
        return service === 'orders'
      },
    })
    expect((await ask({ authorization: 'x' })).status).toBe(200)
    expect((await ask({ 'saga-reply-to': 'billing.saga-replies' })).status).toBe(403)
    expect(asked[0]).toEqual({
      channel: 'bank.commands',
      service: 'orders',
      saga: 'order',
      sagaId: id,
      step: 'reserve',
      operation: 'invoke',
      text: '{"account":"a","cents":5}',
      credential: 'x',
    })
  })

  test('an authorize that throws admits no caller, and is called again', async () => {
    const { logger, lines } = keepingLogger()
    const { ask } = setup({
      logger,
      authorize: () => {
        throw new Error('the key server is away')
      },
    })
    const { status, body } = await ask()
    expect([status, body]).toEqual([503, { error: { code: 'saga.http_failed' } }])
    expect(calls).toEqual([])
    expect(lines.join()).toContain('the key server is away')
  })

  test('credentials do not reach the handler', async () => {
    const seen: string[] = []
    const { ask } = setup({}, { try: (_, { message }) => void seen.push(...Object.keys(message.headers)) })
    await ask({ authorization: 'Bearer x', cookie: 'y', 'proxy-authorization': 'z', tenant: 'north' })
    expect(seen).toContain('tenant')
    expect(seen.filter((name) => /authorization|cookie/.test(name))).toEqual([])
  })

  test('bearer takes no empty token', () => {
    expect(() => bearer([])).toThrow(/at least one token/)
    expect(() => bearer(['a', ''])).toThrow(/no empty one/)
  })
})

describe('requests to a participant', () => {
  test.for<[string, Record<string, string>, number, string]>([
    ['without saga headers', { 'saga-name': '' }, 400, 'saga.http_no_command'],
    ['with an unknown operation', { 'saga-operation': 'delete' }, 400, 'saga.http_no_command'],
    ['whose key is that of another saga', { 'saga-key': 'order/other/reserve' }, 400, 'saga.http_no_command'],
    ['whose id cannot be decoded', { 'saga-id': '%zz' }, 400, 'saga.http_no_command'],
    [
      'whose id has control characters',
      { 'saga-id': 'a%00', 'saga-key': 'order/a%00/reserve' },
      400,
      'saga.http_no_command',
    ],
    ['with a reply channel that is none', { 'saga-reply-to': 'orders' }, 400, 'saga.http_no_command'],
    ['with a service that is no name', { 'saga-reply-to': 'a%20b.saga-replies' }, 400, 'saga.http_no_command'],
    ['for an unknown participant', { 'ce-type': 'stock.commands' }, 404, 'saga.http_no_participant'],
    ['that say they are too large', { 'content-length': '9000000' }, 413, 'saga.http_too_large'],
  ])('%s', async ([, given, status, code]) => {
    const { ask } = setup()
    expect(await ask(given)).toMatchObject({ status, body: { error: { code } } })
    expect(calls).toEqual([])
  })

  test('a request that is no POST is refused', async () => {
    const { handler } = setup()
    for (const method of ['GET', 'PUT', 'DELETE']) {
      const response = await handler(new Request('http://bank/saga', { method }))
      expect([response.status, response.headers.get('allow')]).toEqual([405, 'POST'])
    }
  })

  test('requests that are too large without saying so are not read to their end', async () => {
    const { ask } = setup({ maxRequestBytes: 1_000 })
    let read = 0
    const body = new ReadableStream({
      pull(controller) {
        read++
        controller.enqueue(new Uint8Array(500))
      },
    })
    expect(await ask({}, body)).toMatchObject({ status: 413 })
    expect(read).toBeLessThan(6)
  })

  test('without ce-type are for the only participant', async () => {
    const { ask } = setup()
    expect(await ask({ 'ce-type': '' })).toMatchObject({ status: 200, body: { status: 'ok', result: { held: 5 } } })
  })

  test.for<[string, string]>([
    ['is no JSON', '{"account":'],
    ['does not fit the channel', '{"account":7}'],
  ])('whose payload %s are answered: a permanent failure, with nothing to undo', async ([, body]) => {
    const { ask } = setup()
    expect(await ask({}, body)).toMatchObject({ status: 200, body: { status: 'failed', final: true } })
    expect(await ask({ 'saga-operation': 'compensate' }, body)).toMatchObject({ status: 200, body: { status: 'ok' } })
    expect(calls).toEqual([])
  })

  test('requests that fail inside report it as by message, and succeed when repeated', async () => {
    let isBroken = true
    const { ask } = setup(
      {},
      {
        try: () => {
          if (isBroken) throw new Error('no connection to the card service')
        },
      },
    )
    expect(await ask()).toMatchObject({
      status: 200,
      body: { status: 'failed', message: 'no connection to the card service', attempt: 1 },
    })
    isBroken = false
    expect(await ask()).toMatchObject({ status: 200, body: { status: 'ok' } })
  })

  test('a database that is down is no answer, and its error stays inside', async () => {
    const { logger, lines } = keepingLogger()
    const away = {
      ...embedded(),
      transaction: () => Promise.reject(new Error('password authentication failed for "bank"')),
    }
    const { ask } = setup({ sql: away, logger })
    expect(await ask()).toMatchObject({ status: 503, body: { error: { code: 'saga.http_failed' } } })
    expect(lines.join()).toContain('password authentication failed')
  })

  test('tables that are missing are no answer, and named in the log', async () => {
    const { logger, lines } = keepingLogger()
    const { ask } = setup({ schema: 'not_there', logger })
    expect(await ask()).toMatchObject({ status: 503, body: { error: { code: 'saga.http_failed' } } })
    expect(lines.join()).toContain('migrateParticipant')
  })

  test('a refusal is kept, and given again', async () => {
    const { ask } = setup(
      {},
      {
        try: () => {
          throw new Refusal('bank.closed', 'no such account')
        },
      },
    )
    for (const _ of [1, 2])
      expect(await ask()).toMatchObject({ status: 200, body: { status: 'refused', code: 'bank.closed' } })
    expect(calls).toEqual(['try a'])
  })

  test('beyond the limit are refused', async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const { ask } = setup({ concurrency: 1 }, { try: () => promise })
    const first = ask()
    const second = await ask()
    expect([second.status, second.headers.get('retry-after')]).toEqual([503, '1'])
    resolve()
    expect((await first).status).toBe(200)
    expect((await ask()).status).toBe(200)
  })

  test('a request that takes too long is answered 503, and its work is found when it is repeated', async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const { ask } = setup({ timeoutMs: 50 }, { try: () => promise })
    expect(await ask()).toMatchObject({ status: 503, body: { error: { code: 'saga.http_timeout' } } })
    resolve()
    await expect.poll(async () => (await ask()).body).toMatchObject({ status: 'ok' })
    expect(calls).toEqual(['try a'])
  })
})

test.for<[string, unknown]>([
  ['no participants', []],
  ['something that is none', [{}]],
  ['two of one channel', [bankSide({}, []), bankSide({}, [])]],
])('%s is refused', ([, participants]) => {
  expect(() => httpParticipants(participants as never, { authorize: 'none', sql: embedded() })).toThrow(
    /httpParticipants\.participants/,
  )
})
