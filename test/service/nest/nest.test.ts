import 'reflect-metadata'
import { once } from 'node:events'
import { request } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  ConcordatModule,
  type ConcordatModuleOptions,
  ConcordatService,
  InjectLocks,
  InjectSender,
  InjectService,
  Invoke,
  Sink,
} from '@concordat/nest'
import { type INestApplication, Injectable, type ModuleMetadata, Scope } from '@nestjs/common'
import { ExpressAdapter } from '@nestjs/platform-express'
import { FastifyAdapter } from '@nestjs/platform-fastify'
import { Test } from '@nestjs/testing'
import { defineChannel } from 'concordat/binder'
import { type Logger, silentLogger } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import type { Locks } from 'concordat/locks'
import { memoryTransport } from 'concordat/memory'
import type { Service } from 'concordat/service'
import { afterAll, beforeAll, describe, expect, expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import { uniqueName } from '../../outbox/support/messages.ts'
import { freshPglite } from '../../support/pglite.ts'
import { until } from '../../support/until.ts'
import { charges, Journal, type Order, placed, shop } from './shop.ts'

const database = freshPglite()
const sql = pgliteClient(database)
afterAll(() => database.close())

const PLATFORMS = { express: () => new ExpressAdapter(), fastify: () => new FastifyAdapter() }
type Platform = keyof typeof PLATFORMS

async function open(schema: string, logger?: Logger, platform: Platform = 'express') {
  const module = await Test.createTestingModule({ imports: shop(sql, schema, logger) }).compile()
  const app: INestApplication = module.createNestApplication(PLATFORMS[platform]())
  await app.listen(0, '127.0.0.1')
  const { port } = app.getHttpServer().address() as AddressInfo
  const ask = async (method: string, path: string, body?: unknown) => {
    const asked = request({ port, host: '127.0.0.1', method, path, headers: { 'content-type': 'application/json' } })
    asked.end(body === undefined ? undefined : JSON.stringify(body))
    const [response] = (await once(asked, 'response')) as [import('node:http').IncomingMessage]
    let text = ''
    for await (const chunk of response) text += String(chunk)
    return { status: response.statusCode, body: JSON.parse(text) as unknown }
  }
  const post = (path: string, order: Order) => ask('POST', path, order)
  return {
    app,
    post,
    get: (path: string) => ask('GET', path),
    lines: app.get(Journal).lines,
    slow: app.get(Journal).slow,
  }
}

describe.each(['express', 'fastify'] as const)('a shop on Nest, over %s', (platform) => {
  let shopApp: Awaited<ReturnType<typeof open>>
  beforeAll(async () => {
    await database.waitReady
    shopApp = await open(uniqueName('nest'), undefined, platform)
  }, 60_000)
  afterAll(() => shopApp.app.close())
  const heard = (line: string) => until(line, () => shopApp.lines.includes(line))

  test('a request sends, a processor and a sink with an inbox handle it', async () => {
    const { status, body } = await shopApp.post('/orders', { orderId: 'o-1', cents: 500 })
    expect([status, body]).toEqual([202, { id: expect.any(String) }])
    await heard('receipt o-1 502')
  })

  test('a sender is injected by its channel, and a source is polled', async () => {
    expect(await shopApp.post('/receipts', { orderId: 'o-2', cents: 1 })).toMatchObject({ status: 201 })
    await heard('printer o-2')
    await heard('tick 1')
  })

  test('an error of the package is an answer', async () => {
    const { status, body } = await shopApp.post('/orders', { orderId: 'o-5', cents: 0.5 })
    expect([status, body]).toEqual([400, { error: { code: 'core.schema', retryable: false } }])
  })

  test('a saga calls a participant, whose refusal compensates', async () => {
    expect(await shopApp.post('/sagas/s-1', { orderId: 'o-3', cents: 5 })).toMatchObject({
      body: { status: 'completed' },
    })
    expect(shopApp.lines).toEqual(expect.arrayContaining(['charged o-3 s-1', 'confirmed o-3']))
    const declined = await shopApp.post('/sagas/s-2', { orderId: 'o-4', cents: 20_000 })
    expect(declined).toMatchObject({ body: { status: 'compensated' } })
    expect(shopApp.lines.filter((line) => line.includes('o-4'))).toEqual([])
  })

  test('Terminus has its health, up', async () => {
    const { status, body } = await shopApp.get('/health/ready')
    expect(status).toBe(200)
    const parts = { binder: 'up', relay: 'up', coordinator: 'up' }
    expect(body).toMatchObject({ status: 'ok', info: { concordat: { status: 'up', service: 'up', parts } } })
    expect(await shopApp.get('/health/live')).toMatchObject({ status: 200, body: { info: { shop: { status: 'up' } } } })
  })

  test('the service is injected as a class and by decorator', () => {
    const service: Service = shopApp.app.get(ConcordatService)
    expect(service.describe().sends).toContain(placed)
    expectTypeOf(InjectService).returns.toExtend<ParameterDecorator>()
  })
})

test.each(['express', 'fastify'] as const)(
  'a shutdown over %s finishes the running message before pools close, and reports that it is not ready',
  async (platform) => {
    const warned: string[] = []
    const logger: Logger = { ...silentLogger, warn: (_, text) => void warned.push(String(text)) }
    const { app, post, get, lines, slow } = await open(uniqueName('nest'), logger, platform)
    await until('it has warned', () => warned.length > 0)
    expect(warned).toEqual([expect.stringContaining('call app.enableShutdownHooks()')])
    await post('/orders', { orderId: 'slow-1', cents: 1 })
    await until('it is in hand', () => lines.includes('began slow-1'))
    const closed = app.close()
    await until('it closes', () => lines.includes('shutting down'))
    expect(await get('/health/ready')).toMatchObject({
      status: 503,
      body: { error: { concordat: { status: 'down' } } },
    })
    expect(lines).not.toContain('pools close')
    slow.open()
    await closed
    expect(lines.at(-1)).toBe('pools close')
    // The service is closed, so the next instance gets every delivery that it returned.
    expect(app.get(ConcordatService).health()).toMatchObject({ live: false })
  },
)

describe('a wrong wiring does not start', () => {
  const root = (more: Partial<ConcordatModuleOptions> = {}) =>
    ConcordatModule.forRoot({ name: 'wrong', transport: memoryTransport(), ...more })
  const refused = async (metadata: ModuleMetadata): Promise<unknown> => {
    const module = await Test.createTestingModule(metadata)
      .compile()
      .catch((error: Error) => error)
    if (module instanceof Error) return module.message
    return module.init().then(
      () => module.close().then(() => 'started'),
      (error: Error) => error.message,
    )
  }

  class First {
    @Sink(placed, { group: 'stock' })
    reserve(): void {}
  }
  class Second {
    @Sink(placed, { group: 'stock' })
    alsoReserve(): void {}
  }
  class Half {
    @Invoke(charges, { group: 'payments' })
    charge(): void {}
  }
  class Wants {
    @InjectLocks() readonly locks!: Locks
  }
  class Sends {
    @InjectSender(placed) readonly sender: unknown
  }
  @Injectable({ scope: Scope.REQUEST })
  class PerRequest {
    @Sink(placed, { group: 'stock' })
    reserve(): void {}
  }
  class Elsewhere {}
  const twice = { module: Elsewhere, providers: [First] }

  test.each<[string, ModuleMetadata, string]>([
    [
      'two handlers of one group',
      { imports: [root()], providers: [First, Second] },
      'Second.alsoReserve @Sink("orders.placed").group: expected a group of its own: First.reserve @Sink("orders.placed") has',
    ],
    [
      'one handler in two modules',
      { imports: [root(), twice], providers: [First] },
      'First.reserve @Sink("orders.placed"): expected one provider',
    ],
    [
      'half a participant',
      { imports: [root()], providers: [Half] },
      'Half.charge @Invoke("payments.commands"): expected one method of the same class with @Compensate',
    ],
    [
      'a part that the service has not',
      { imports: [root()], providers: [Wants] },
      'Wants: its locks: expected a service with them: give `locks` to',
    ],
    [
      'a channel that no feature names',
      { imports: [root()], providers: [Sends] },
      'concordat sender of "orders.placed", from ConcordatModule.forFeature',
    ],
    [
      'a feature without a root',
      { imports: [ConcordatModule.forFeature({ sends: [placed] })] },
      'expected ConcordatModule.forRoot or forRootAsync among the imports',
    ],
    [
      'a service that nothing makes',
      { providers: [{ provide: 'x', inject: [ConcordatService], useFactory: () => 1 }] },
      'ConcordatService',
    ],
    [
      'two roots',
      { imports: [root(), root({ name: 'other' })] },
      'expected one service in an application, and there are 2',
    ],
    [
      'a handler for each request',
      { imports: [root()], providers: [PerRequest] },
      'expected a provider that is made once: a message is no request',
    ],
    [
      'a handler that a factory makes',
      { imports: [root()], providers: [{ provide: 'first', useFactory: () => new First() }] },
      'expected its class among the providers, not a factory',
    ],
    ['an unknown option', { imports: [root({ transprot: 1 } as never)] }, 'createService.transprot: expected one of'],
    [
      'another start',
      { imports: [root({ start: 'now' as never })] },
      "ConcordatModule.forRoot.start: expected 'bootstrap' or 'manual', got \"now\"",
    ],
  ])('%s', async (_, metadata, says) => {
    expect(await refused(metadata)).toContain(says)
  })

  test.each(['useValue', 'useClass', 'useFactory'] as const)(
    'a provider that a test overrides with %s keeps its handlers, which call the mock',
    async (how) => {
      const got: unknown[] = []
      class Mock {
        reserve(order: unknown): void {
          got.push(order)
        }
      }
      const made = new Mock()
      const override = Test.createTestingModule({ imports: [root()], providers: [First] }).overrideProvider(First)
      const builder =
        how === 'useClass'
          ? override.useClass(Mock)
          : how === 'useValue'
            ? override.useValue(made)
            : override.useFactory({ factory: () => made })
      const app = (await builder.compile()).createNestApplication()
      await app.init()
      const { binder } = app.get(ConcordatService) as unknown as { readonly binder: Service['binder'] }
      const order = { orderId: 'o-1', cents: 5 }
      await binder.send(placed, order)
      await until('the mock has it', () => got.length > 0)
      expect(got).toMatchObject([order])
      await app.close()
    },
  )

  test('a provider under a symbol is named like any other', async () => {
    const twice = ['stock', 'more'].map((name) => ({ provide: Symbol(name), useValue: new First() }))
    const found = await refused({ imports: [root()], providers: twice })
    expect(String(found)).toContain('Symbol(')
  })

  test('a wrong declaration is reported at its own line', () => {
    const circular = undefined as unknown as typeof placed
    expect(() => Sink(circular, { group: 'stock' })).toThrow('@Sink')
    const standard = Sink(placed, { group: 'stock' }) as unknown as (value: unknown, context: object) => void
    expect(() => standard(() => {}, { kind: 'method' })).toThrow('"experimentalDecorators": true')
    expect(() => Sink(placed, { group: 'stock' })(First, 'prototype', {})).toThrow('that is no static one')
    expect(() => ConcordatModule.forFeature({ sends: [] })).toThrow('ConcordatModule.forFeature.sends')
    expect(() => ConcordatModule.forRootAsync({ useFactory: 5 as never })).toThrow('forRootAsync.useFactory')
  })
})

test('a method of another payload, or without the inbox that it uses, does not compile', () => {
  const numbers = defineChannel('numbers', { payload: z.object({ n: z.number() }) })
  class Wrong {
    // @ts-expect-error -- it is an object
    @Sink(numbers, { group: 'a' })
    text(text: string): void {
      expect(text).toBeDefined()
    }

    // @ts-expect-error -- no transaction without an inbox
    @Sink(numbers, { group: 'b' })
    inTransaction(_: { readonly n: number }, { tx }: { readonly tx: object }): void {
      expect(tx).toBeDefined()
    }
  }
  expect(Wrong).toBeDefined()
})
