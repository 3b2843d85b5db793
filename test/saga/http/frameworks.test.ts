/** The same participant behind `node:http`, Express and Fastify, with and without a body parser before it. */

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { toNode } from 'concordat/core'
import { migrateParticipant, type SagaReply } from 'concordat/saga'
import { httpParticipants } from 'concordat/saga/http'
import express from 'express'
import fastify from 'fastify'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { commandHeaders } from '../support/delivery.ts'
import { askByHttp } from '../support/http-side.ts'
import { bankSide } from '../support/http-world.ts'
import { closeEmbedded, embedded, openEmbedded } from '../support/world.ts'

const schema = 'http_frameworks'
const calls: string[] = []
const handler = () =>
  httpParticipants([bankSide({}, calls)], { authorize: 'none', sql: embedded(), schema, maxRequestBytes: 10_000 })

beforeAll(async () => {
  await openEmbedded()
  await migrateParticipant(embedded(), schema)
}, 120_000)
afterAll(closeEmbedded)

interface Started {
  readonly port: number
  readonly close: () => Promise<unknown>
}

function listen(server: ReturnType<typeof createServer>): Promise<Started> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const close = (): Promise<unknown> => new Promise((closed) => server.close(closed))
      resolve({ port: (server.address() as AddressInfo).port, close })
    })
  })
}

const servers: Readonly<Record<string, () => Promise<Started>>> = {
  'node:http': () => listen(createServer(toNode(handler()))),
  Express: () => {
    const app = express()
    app.post('/saga', toNode(handler()))
    return listen(createServer(app))
  },
  'Express with express.json()': () => {
    const app = express()
    app.use(express.json())
    app.post('/saga', toNode(handler()))
    return listen(createServer(app))
  },
  Fastify: async () => {
    const app = fastify()
    const node = toNode(handler())
    app.post('/saga', (request, reply) => {
      void reply.hijack()
      node(request.raw, reply.raw, request.body)
    })
    await app.listen({ port: 0, host: '127.0.0.1' })
    return { port: (app.server.address() as AddressInfo).port, close: () => app.close() }
  },
}

describe.for(Object.entries(servers))('behind %s', ([name, start]) => {
  const id = `f-${name.replaceAll(/\W/g, '')}`

  test('a command is answered, and again, and done once', async () => {
    const { port, close } = await start()
    try {
      const url = `http://127.0.0.1:${port}/saga`
      const ask = (operation: 'invoke' | 'confirm'): Promise<SagaReply> =>
        askByHttp({ url }, { account: id, cents: 3 }, { ...commandHeaders(id, operation), 'saga-kind': 'tcc' })
      for (const _ of [1, 2]) expect(await ask('invoke')).toMatchObject({ status: 'ok', result: { held: 3 } })
      for (const _ of [1, 2]) expect(await ask('confirm')).toMatchObject({ status: 'ok' })
      expect(calls.splice(0)).toEqual([`try ${id}`, `confirm ${id}`])
    } finally {
      await close()
    }
  })

  test('a body that is too large is answered 413', async () => {
    const { port, close } = await start()
    try {
      const response = await fetch(`http://127.0.0.1:${port}/saga`, {
        method: 'POST',
        headers: {
          ...Object.fromEntries(
            Object.entries(commandHeaders(id, 'invoke')).map(([key, value]) => [key, String(value)]),
          ),
          'content-type': 'application/json',
        },
        body: JSON.stringify({ account: 'x'.repeat(20_000), cents: 1 }),
      })
      expect([response.status, await response.json()]).toEqual([413, { error: { code: 'saga.http_too_large' } }])
    } finally {
      await close()
    }
  })
})
