import { scrypt, scryptSync } from 'node:crypto'
import { lookup } from 'node:dns'
import { readFile } from 'node:fs/promises'
import { createServer, get } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { promisify } from 'node:util'
import { gunzipSync, gzip, gzipSync } from 'node:zlib'
import { type SimulationOptions, simulate } from '@concordat/simulator'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { failureOf, IDLE } from './failure.ts'

/** Taken before any history begins, so it stays the process's own. */
const realTimeout = setTimeout

const server = createServer((_, response) => void response.end('here'))
let url = ''
beforeAll(async () => {
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(async () => {
  server.closeAllConnections()
  await new Promise((resolve) => void server.close(resolve))
})

const services = (start: () => unknown): SimulationOptions['services'] => ({
  shop: { instances: 1, start: async () => void (await start()) },
})

describe('a history fails, and names the awaited event of a service', () => {
  it.each([
    ['fetch', () => fetch(url)],
    ['TCPCONNECTWRAP', () => connect(Number(new URL(url).port), '127.0.0.1').on('error', () => {})],
    [/TCPCONNECTWRAP|HTTPCLIENTREQUEST/, () => get(url, { agent: false }).on('error', () => {})],
    ['GETADDRINFOREQWRAP', () => promisify(lookup)('localhost')],
  ])('%s', async (kind, ask) => {
    const failure = await failureOf({ ...IDLE, services: services(ask) })
    expect(failure.invariant).toBe('services wait for nothing real')
    expect(failure.message).toMatch(kind)
    expect(failure.message).toContain('shop-1 waits for a real')
  })

  it('a history fails also when the service does not wait for the request', async () => {
    const background = services(() => void fetch(url).catch(() => {}))
    expect((await failureOf({ ...IDLE, services: background })).message).toContain('a real fetch')
  })

  it('under the name of the invariant that waits', async () => {
    const invariants = { 'the server answers': async () => void (await fetch(url)) }
    const failure = await failureOf({ ...IDLE, invariants })
    expect(failure.message).toContain('"the server answers" does not hold: client waits for a real fetch')
  })

  it('when it makes no progress, as a possible reason', async () => {
    const failure = await failureOf({
      ...IDLE,
      services: services(() => new Promise((resolve) => void realTimeout(resolve, 60_000).unref())),
    })
    expect(failure.message).toContain('"shop-1 starts" does not hold: its start() has not resolved')
    expect(failure.message).toContain('shop-1 may wait for a real Timeout')
  })
})

describe('a history waits', () => {
  const digest = () => crypto.subtle.digest('SHA-256', new Uint8Array(1_000_000))
  it.each([
    ['a hash', digest],
    ['a key', () => promisify(scrypt)('password', 'salt', 32)],
    ['a file', () => readFile(new URL(import.meta.url))],
    ['a compression', () => promisify(gzip)(Buffer.alloc(1_000_000))],
    ['one after the other', async () => [await digest(), await promisify(gzip)('text'), await digest()]],
  ])('for %s, which takes no time of its own', async (_, compute) => {
    const took = new Set<number>()
    for (let n = 0; n < 8; n++) {
      await simulate({
        ...IDLE,
        seeds: 1,
        services: services(async () => {
          const beganMs = performance.now()
          await compute()
          took.add(performance.now() - beganMs)
        }),
      })
    }
    expect([...took]).toEqual([0])
  })
})

describe('a history holds', () => {
  it('during any work of a service that waits for nothing outside', async () => {
    const { port1, port2 } = new MessageChannel()
    const { histories } = await simulate({
      ...IDLE,
      seeds: 3,
      services: services(async () => {
        console.log('a service writes')
        scryptSync('password', 'salt', 32)
        gunzipSync(gzipSync('text'))
        await new Promise((resolve) => void setImmediate(resolve))
        await new Promise<void>((resolve) => process.nextTick(resolve))
        createServer().listen(0).close()
        port2.postMessage('no readers')
      }),
    })
    port1.close()
    expect(histories).toBe(3)
  })

  it('while other code of the process waits for a server', async () => {
    let asked = 0
    let isOver = false
    const asking = (async () => {
      for (; !isOver; asked++) expect(await (await fetch(url)).text()).toBe('here')
    })()
    const { histories } = await simulate({ ...IDLE, seeds: 200 })
    isOver = true
    await asking
    expect({ histories, hasAsked: asked > 0 }).toEqual({ histories: 200, hasAsked: true })
  })
})
