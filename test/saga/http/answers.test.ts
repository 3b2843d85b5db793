/**
 * A coordinator's interpretation of responses from a participant's URL: the participant's answer, a refusal, or
 * nothing.
 */
import { defineSaga, Refusal } from 'concordat/saga'
import { httpTarget } from 'concordat/saga/http'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { until } from '../../support/until.ts'
import { bankCommands } from '../support/bank.ts'
import {
  type Gate,
  type HttpWorld,
  type HttpWorldOptions,
  keepingLogger,
  openHttpWorld,
  outcomeOf,
} from '../support/http-world.ts'
import { closeEmbedded, openEmbedded } from '../support/world.ts'

const closing: HttpWorld[] = []
beforeAll(openEmbedded, 120_000)
afterAll(closeEmbedded)
afterEach(async () => {
  for (const world of closing.splice(0)) await world[Symbol.asyncDispose]()
})

async function setup(options: HttpWorldOptions = {}): Promise<HttpWorld> {
  const world = await openHttpWorld(options)
  closing.push(world)
  return world
}

let stalls = 0
const isStalled = (): boolean => stalls-- > 0

/** Gate under which the first requests of an operation fail and the others pass. */
function atFirst(operation: string, times: number, wrong: Gate): Gate {
  let left = times
  return (request, response, pass) => {
    if (request.operation === operation && left-- > 0) wrong(request, response, pass)
    else pass()
  }
}

const html: Gate = (_, response) => {
  response.writeHead(502, { 'content-type': 'text/html' })
  response.end('<html><body>Bad gateway, secret-of-the-proxy</body></html>')
}

describe('a participant that is called by HTTP', () => {
  test('is tried and confirmed, or tried and cancelled', async () => {
    const world = await setup()
    expect((await outcomeOf(world, 'a')).status).toBe('completed')
    expect(world.calls).toEqual(['try a', 'confirm a'])
    const { coordinator, transfer, move } = world
    const no = new Error('no')
    const run = coordinator.globalTransaction(transfer, { id: 't', input: {} }, async (global) => {
      expect(await global.call(move, { account: 'b', cents: 7 })).toEqual({ held: 7 })
      throw no
    })
    await expect(run).rejects.toBe(no)
    expect(world.calls.slice(2)).toEqual(['try b', 'cancel b true'])
  })

  test('ids of any characters arrive as they are', async () => {
    const ids: string[] = []
    const world = await setup({ handlers: { try: (_, { sagaId, key }) => void ids.push(sagaId, key) } })
    const id = 'käse 100% "ß" / 日本 \u{1F600}'
    expect((await outcomeOf(world, id)).status).toBe('completed')
    expect(ids).toEqual([id, `pay/${id}/move`])
  })

  test('refuses as a participant, and nothing is cancelled', async () => {
    const world = await setup({
      handlers: {
        try: () => {
          throw new Refusal('bank.no_funds', 'not enough')
        },
      },
    })
    const outcome = await outcomeOf(world, 'a')
    expect(outcome).toMatchObject({ status: 'compensated', failure: { code: 'bank.no_funds', message: 'not enough' } })
    expect(world.calls).toEqual(['try a'])
  })

  test('an answer that is lost after the commit is requested again, and nothing is done twice', async () => {
    const lose: Gate = (_, response, pass) => {
      response.end = (() => {
        response.socket?.destroy()
        return response
      }) as typeof response.end
      pass()
    }
    const invoked = atFirst('invoke', 2, lose)
    const confirmed = atFirst('confirm', 2, lose)
    const world = await setup({
      gate: (request, response, pass) => invoked(request, response, () => confirmed(request, response, pass)),
    })
    expect((await outcomeOf(world, 'a')).status).toBe('completed')
    expect(world.calls).toEqual(['try a', 'confirm a'])
    expect(world.seen).toEqual(['invoke 1', 'invoke 1', 'invoke 1', 'confirm 1', 'confirm 1', 'confirm 1'])
  })

  test.for<[string, Gate]>([
    ['a connection that is reset in the middle of the request', (request) => void request.socket.destroy()],
    [
      'a connection that is reset in the middle of the answer',
      (_, response) => {
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' })
        response.write('{"saga":"pay"', () => response.socket?.destroy())
      },
    ],
    ["a proxy's 502 with HTML", html],
    ['503 with retry-after', (_, response) => void response.writeHead(503, { 'retry-after': '0' }).end()],
    ['429', (_, response) => void response.writeHead(429).end('{}')],
    ['200 with HTML', (_, response) => void response.writeHead(200).end('<html>we are back soon</html>')],
    ['200 without a body', (_, response) => void response.writeHead(200).end()],
    [
      'the answer to another command',
      (_, response) =>
        void response
          .writeHead(200)
          .end(JSON.stringify({ saga: 'pay', sagaId: 'b', step: 'move', operation: 'invoke', status: 'refused' })),
    ],
    [
      'an answer that is none',
      (_, response) =>
        void response
          .writeHead(200)
          .end(JSON.stringify({ saga: 'pay', sagaId: 'a', step: 'move', operation: 'invoke', status: 'maybe' })),
    ],
  ])('%s is no answer: the call is repeated', async ([, wrong]) => {
    const { logger, lines } = keepingLogger()
    const world = await setup({ gate: atFirst('invoke', 2, wrong), coordinator: { logger } })
    expect((await outcomeOf(world, 'a')).status).toBe('completed')
    expect(world.calls).toEqual(['try a', 'confirm a'])
    expect(lines.filter((line) => line.startsWith('participant did not answer'))).toHaveLength(2)
    expect(lines.join('\n')).not.toContain('secret-of-the-proxy')
  })

  test('a participant slower than the time of a request is called again, and does its work once', async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const world = await setup({
      target: { requestTimeoutMs: 100 },
      handlers: { try: () => promise },
      gate: (request, _, pass) => {
        pass()
        if (world.seen.filter((line) => line.startsWith('invoke')).length === 3) resolve()
        void request
      },
    })
    expect((await outcomeOf(world, 'a')).status).toBe('completed')
    expect(world.calls.filter((call) => call.startsWith('confirm'))).toEqual(['confirm a'])
    expect(world.calls).not.toContain('cancel a true')
    expect(world.seen.length).toBeGreaterThanOrEqual(4)
  })

  test.for<[string, number, string]>([
    ['a redirect, which is not followed', 307, 'saga.http_redirect'],
    ['401 of a proxy', 401, 'saga.http_unauthorized'],
    ['403', 403, 'saga.http_unauthorized'],
    ['404', 404, 'saga.http_status'],
    ['400', 400, 'saga.http_status'],
  ])('%s is a failure, not a refusal: a possible effect is cancelled', async ([, status, code]) => {
    const elsewhere: string[] = []
    const world = await setup({
      gate: (request, response, pass) => {
        if (request.operation === 'compensate') return pass()
        if (request.url === '/elsewhere') elsewhere.push(request.url)
        response.writeHead(status, { location: '/elsewhere' }).end('the secret of a stranger')
      },
    })
    const outcome = await outcomeOf(world, 'a')
    expect(outcome).toMatchObject({ status: 'compensated', failure: { step: 'move', code } })
    expect(JSON.stringify(outcome)).not.toContain('secret')
    expect(elsewhere).toEqual([])
    expect(world.seen.at(-1)).toMatch(/^compensate \d+$/)
    expect(world.calls).toEqual([])
  })

  test("a long code in a stranger's answer does not get into the error", async () => {
    const code = `${'secret'.repeat(100)}.busy`
    const world = await setup({
      gate: (request, response, pass) => {
        if (request.operation === 'compensate') return pass()
        response.writeHead(400, { 'content-type': 'application/json' }).end(JSON.stringify({ error: { code } }))
      },
    })
    const outcome = await outcomeOf(world, 'a')
    expect(outcome).toMatchObject({ status: 'compensated', failure: { code: 'saga.http_status' } })
    expect(JSON.stringify(outcome)).not.toContain('secret')
  })

  test('a cancellation that cannot get through parks the saga, and an operator frees it', async () => {
    let isOpen = false
    const world = await setup({
      gate: (request, response, pass) => {
        if (request.operation === 'invoke') return void response.writeHead(400).end()
        if (isOpen) pass()
        else response.writeHead(403).end()
      },
    })
    const { coordinator, saga } = world
    const outcome = await outcomeOf(world, 'a')
    expect(outcome).toMatchObject({ status: 'stuck' })
    isOpen = true
    await coordinator.retry({ saga: saga.name, id: 'a' }, { by: 'ann', reason: 'the secret is set' })
    expect(await coordinator.get(saga, 'a').outcome({ timeoutMs: 20_000 })).toMatchObject({ status: 'compensated' })
  })

  test('a coordinator that closes gives back unanswered calls: another one asks at once', async () => {
    let isAway = true
    const world = await setup({
      // Neither the time of the step nor that of the pauses is what another one waits for.
      step: { timeoutMs: 600_000 },
      target: { retry: { initialMs: 600_000, maxMs: 600_000 } },
      coordinator: { drainTimeoutMs: 600_000 },
      gate: (request, response, pass) => (isAway ? html(request, response, pass) : pass()),
    })
    const { coordinator, coordinate, saga, seen } = world
    await coordinator.start(saga, { id: 'a', input: { account: 'a' } })
    await until('it is asked', () => seen.length === 1)
    await coordinator.close()
    isAway = false
    const next = coordinate()
    try {
      await next.run()
      expect(await next.get(saga, 'a').outcome({ timeoutMs: 20_000 })).toMatchObject({ status: 'completed' })
    } finally {
      await next.close()
    }
    expect(seen).toEqual(['invoke 1', 'invoke 1', 'confirm 1'])
  })

  test('code that runs on while its coordinator closes asks for its branches, and decides', async () => {
    const world = await setup({ coordinator: { drainTimeoutMs: 20_000 } })
    const { coordinator, transfer, move, calls, coordinate } = world
    const [begun, mayGoOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const run = coordinator.globalTransaction(transfer, { id: 't', input: {} }, async (global) => {
      begun.resolve()
      await mayGoOn.promise
      await global.call(move, { account: 'b', cents: 7 })
    })
    run.catch(() => {})
    await begun.promise
    const closed = coordinator.close()
    mayGoOn.resolve()
    await closed
    expect(calls[0]).toBe('try b')
    // Any other coordinator finishes a decided transaction.
    const next = coordinate()
    try {
      await next.run()
      await until('it is confirmed', () => calls.includes('confirm b'))
    } finally {
      await next.close()
    }
    expect(calls).toEqual(['try b', 'confirm b'])
  })

  test('a try whose answer was lost with its coordinator is cancelled, also when the next one cannot call it any longer', async () => {
    const world = await setup({
      step: { timeoutMs: 600_000 },
      target: { retry: { initialMs: 600_000, maxMs: 600_000 } },
      coordinator: { drainTimeoutMs: 600_000 },
      gate: (request, response, pass) => {
        // Done, and its answer never arrives.
        if (request.operation === 'invoke') {
          response.end = (() => {
            response.socket?.destroy()
            return response
          }) as typeof response.end
        }
        pass()
      },
    })
    const { coordinator, coordinate, saga, seen, calls } = world
    await coordinator.start(saga, { id: 'a', input: { account: 'a' } })
    await until('it is done', () => calls.length === 1)
    await until('nobody waits for it', () => seen.length === 1)
    await coordinator.close()
    let asked = 0
    const sameGraph = defineSaga('pay', { version: 1, input: z.object({ account: z.string() }) })
      .tcc('move', {
        to: httpTarget(bankCommands, { url: world.url }),
        request: ({ input }) => {
          if (asked++ === 0) throw new Error('a mistake of this release')
          return { account: input.account, cents: 5 }
        },
      })
      .step('decide', { pivot: true, invoke: () => {} })
    const next = coordinate({ sagas: [sameGraph] })
    try {
      await next.run()
      expect(await next.get(saga, 'a').outcome({ timeoutMs: 20_000 })).toMatchObject({ status: 'compensated' })
      expect(calls).toEqual(['try a', 'cancel a true'])
    } finally {
      await next.close()
    }
  })

  test('a coordinator that does not run calls no participant: one that does calls at once', async () => {
    const world = await setup({ step: { timeoutMs: 600_000 } })
    const { coordinate, coordinator, saga } = world
    const starter = coordinate()
    await starter.start(saga, { id: 'a', input: { account: 'a' } })
    await starter.close()
    expect(await coordinator.get(saga, 'a').outcome({ timeoutMs: 20_000 })).toMatchObject({ status: 'completed' })
    expect(world.calls).toEqual(['try a', 'confirm a'])
  })

  test.for<[string, object]>([
    [
      'a fetch',
      { fetch: (...given: Parameters<typeof fetch>) => (isStalled() ? new Promise(() => {}) : fetch(...given)) },
    ],
    ['a function for headers', { headers: () => (isStalled() ? new Promise(() => {}) : {}) }],
  ])('%s that never answers, and ignores its signal, delays nothing: it is called again', async ([, target]) => {
    stalls = 2
    const world = await setup({ target: { requestTimeoutMs: 50, concurrency: 1, ...target } })
    expect((await outcomeOf(world, 'a')).status).toBe('completed')
    expect(world.calls).toEqual(['try a', 'confirm a'])
  })

  test('headers are made for each request, and are not logged without an answer', async () => {
    const { logger, lines } = keepingLogger()
    const given: unknown[] = []
    let count = 0
    const world = await setup({
      coordinator: { logger },
      target: {
        headers: ({ operation, body }) => {
          if (++count === 1) throw new Error('no token: s3cret')
          return {
            Authorization: `Bearer s3cret-${count}`,
            'Content-Type': 'text/plain',
            'saga-id': `${operation}-${body.length}`,
          }
        },
      },
      gate: (request, response, pass) => {
        given.push(request.headers.authorization, request.headers['content-type'])
        if (given.length === 2) html(request, response, pass)
        else pass()
      },
    })
    expect((await outcomeOf(world, 'a')).status).toBe('completed')
    expect(given.slice(0, 4)).toEqual(['Bearer s3cret-2', 'application/json', 'Bearer s3cret-3', 'application/json'])
    expect(lines.filter((line) => line.includes('did not answer'))).toHaveLength(2)
    expect(lines.join('\n')).not.toContain('s3cret')
  })

  test('an answer that is too large is a permanent failure, and is cancelled', async () => {
    const world = await setup({
      handlers: { try: () => ({ text: 'x'.repeat(5_000) }) },
      target: { maxResponseBytes: 2_000 },
    })
    expect(await outcomeOf(world, 'a')).toMatchObject({
      status: 'compensated',
      failure: { code: 'saga.http_too_large' },
    })
    expect(world.calls).toEqual(['try a', 'cancel a true'])
  })

  test('a request that is too large is refused before it is sent', async () => {
    const world = await setup({ target: { maxRequestBytes: 30 } })
    const outcome = await outcomeOf(world, 'an account with a long name')
    expect(outcome).toMatchObject({ status: 'compensated', failure: { code: 'saga.http_too_large' } })
    expect(world.seen).toEqual([])
  })
})
