/** Code in another process that becomes part of a global transaction by a request: Express, Fastify and Fetch handlers. */

import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { toNode } from 'concordat/core'
import { currentGlobalTransaction, type GlobalTransaction, TRANSACTION_HEADER } from 'concordat/saga/global'
import { transactionFetch, transactionMiddleware } from 'concordat/saga/http'
import express from 'express'
import fastify from 'fastify'
import { describe, expect, test } from 'vitest'
import { until } from '../../support/until.ts'
import { closeWorlds, closing, type Joining, setupJoining as setup } from '../support/joining.ts'

closeWorlds()

async function listen(listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => new Promise((resolve) => server.close(resolve)))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/work`
}

describe('code that joins by HTTP', () => {
  const servers: Readonly<Record<string, (world: Joining, work: () => Promise<unknown>) => Promise<string>>> = {
    'a fetch handler': ({ other }, work) =>
      listen(
        toNode((request) =>
          other.inheritTransaction(request.headers, async () => Response.json((await work()) ?? null)),
        ),
      ),
    Express: ({ other }, work) => {
      const app = express()
      app.use(transactionMiddleware(other))
      app.post('/work', async (_, response) => void response.json((await work()) ?? null))
      return listen(app)
    },
    Fastify: async ({ other }, work) => {
      const app = fastify()
      app.addHook('onRequest', transactionMiddleware(other))
      app.post('/work', async () => (await work()) ?? null)
      await app.listen({ port: 0, host: '127.0.0.1' })
      closing.push(() => app.close())
      return `http://127.0.0.1:${(app.server.address() as AddressInfo).port}/work`
    },
  }

  test.for(Object.entries(servers))('behind %s the id is there, over any await', async ([, serve]) => {
    const world = await setup()
    const url = await serve(world, async () => {
      await new Promise((resolve) => setTimeout(resolve, 1))
      return currentGlobalTransaction()?.call(world.move, { account: 'b', cents: 3 })
    })
    const call = transactionFetch()
    const post = async () => (await call(url, { method: 'POST' })).json()
    expect(await world.begin('w-1', post)).toEqual({ held: 3 })
    expect(world.calls).toEqual(['try b', 'confirm b'])
    expect(await post()).toBeNull()
  })

  test.for(Object.entries(servers))(
    'behind %s the signal aborts while the handler is at work and the transaction is cancelled',
    async ([, serve]) => {
      const world = await setup({ coordinator: { pollMs: 20 } })
      const reason = Promise.withResolvers<unknown>()
      const url = await serve(world, async () => {
        const global = currentGlobalTransaction() as GlobalTransaction
        await global.call(world.move, { account: 'b', cents: 3 })
        const { signal } = global
        signal.addEventListener('abort', () => reason.resolve(signal.reason), { once: true })
        await world.coordinator.cancel({ saga: world.transfer.name, id: 'w-3' }, { by: 'ann', reason: 'too late' })
        await reason.promise
      })
      const call = transactionFetch()
      await expect(world.begin('w-3', () => call(url, { method: 'POST' }))).rejects.toThrow(
        expect.objectContaining({ code: 'saga.transaction_cancelled' }),
      )
      expect(await reason.promise).toMatchObject({ code: 'saga.transaction_ended' })
    },
  )

  test.for([
    ...Object.entries(servers),
    [
      'a fetch handler that answers its own errors',
      ({ other }, work) =>
        listen(
          toNode((request) =>
            other.inheritTransaction(request.headers, () =>
              work().then(
                () => new Response(),
                () => new Response(null, { status: 503 }),
              ),
            ),
          ),
        ),
    ] satisfies [string, (typeof servers)[string]],
  ])('a failure behind %s cancels all before the caller gets its answer', async ([, serve]) => {
    const world = await setup()
    const url = await serve(world, async () => {
      await currentGlobalTransaction()?.call(world.move, { account: 'room', cents: 3 })
      throw new Error('no breakfast')
    })
    const call = transactionFetch()
    const run = world.begin('w-4', async () => {
      await currentGlobalTransaction()?.call(world.move, { account: 'seat', cents: 3 })
      const { status } = await call(url, { method: 'POST' })
      expect(status).toBeGreaterThanOrEqual(500)
      return 'booked'
    })
    await expect(run).rejects.toMatchObject({ code: 'saga.transaction_cancelled' })
    expect(world.calls).toEqual(['try seat', 'try room', 'cancel room true', 'cancel seat true'])
  })

  test('a response whose connection is cut cancels all', async () => {
    const world = await setup()
    const { coordinator, transfer } = world
    const app = express()
    app.use(transactionMiddleware(world.other))
    app.post('/work', async (_, response) => {
      await currentGlobalTransaction()?.call(world.move, { account: 'room', cents: 3 })
      response.destroy()
    })
    const url = await listen(app)
    const call = transactionFetch()
    const run = world.begin('w-5', async () => {
      await expect(call(url, { method: 'POST' })).rejects.toThrow('fetch failed')
      await until('it is told to be cancelled', async () => {
        const { timeline } = await coordinator.report({ saga: transfer.name, id: 'w-5' })
        return timeline.some(({ kind }) => kind === 'operator-cancel')
      })
      return 'booked'
    })
    await expect(run).rejects.toMatchObject({ failure: { code: 'saga.cancelled' } })
    expect(world.calls).toEqual(['try room', 'cancel room true'])
  })

  test('an invalid header is an error of the request', async () => {
    const world = await setup()
    for (const name of ['Express', 'Fastify']) {
      const url = await servers[name]?.(world, async () => 'done')
      const response = await fetch(url ?? '', { method: 'POST', headers: { [TRANSACTION_HEADER]: 'x' } })
      expect(response.status).toBe(400)
    }
  })

  test('transactionFetch keeps the headers of the request', async () => {
    const world = await setup()
    const seen: unknown[] = []
    const url = await listen((request, response) => {
      seen.push(request.headers['tenant'], request.headers[TRANSACTION_HEADER] !== undefined)
      response.end()
    })
    const call = transactionFetch()
    await world.begin('w-2', async () => {
      await call(url, { headers: { tenant: 'north' } })
      await call(new Request(url, { headers: { tenant: 'south' } }))
    })
    await call(url)
    expect(seen).toEqual(['north', true, 'south', true, undefined, false])
  })
})
