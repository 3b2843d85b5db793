import { globSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { peerFile } from '../../bench/peers.ts'
import { installed, mustRun } from '../support/suite/packages.ts'
import { expectProgram, installProgram } from './support/service-program.ts'
import { IMPORT_PATHS, install, type Packed, PEERS, pack, run, typeCheck } from './support/tarball.ts'

/** Uses without drivers: our declarations must stand alone. */
const CONSUMER = `
import { createBinder, defineChannel, processor, sink } from 'concordat/binder'
import { memoryTransport } from 'concordat/memory'
import type { StandardSchemaV1 } from 'concordat/core'

declare const Order: StandardSchemaV1<{ id: string }, { id: string }>
const placed = defineChannel('orders.placed', { payload: Order, key: (order) => order.id })
const paid = defineChannel('orders.paid', { payload: Order })
const audit = sink(paid, { group: 'audit' }, (order, context) => context.log.info({ id: order.id }, 'paid'))
const pay = processor(placed, paid, { group: 'payments' }, (order) => ({ id: order.id }))
// @ts-expect-error -- the output channel wants an id
processor(placed, paid, { group: 'wrong' }, () => ({ name: 'x' }))
export const binder = createBinder({ service: 'shop', transport: memoryTransport(), bindings: [audit, pay] })
binder.binding('orders.paid.audit')
// @ts-expect-error -- there is no such binding
binder.binding('orders.paid.payments')
`

/** Declarations as a service exports them. With `--declaration` the compiler has to write each of their types. */
const EXPORTER = `
import { createBinder, defineChannel, pollable, processor, responder, route, several, sink, sinkBatch, source, to } from 'concordat/binder'
import { memoryLocks, memoryTransport } from 'concordat/memory'
import type { Transport } from 'concordat/extension'
import { createBus, defineEvent, onEvent } from 'concordat/bus'
import type { SqlClient, StandardSchemaV1 } from 'concordat/core'
import { createElection, createObserver, createSchedule } from 'concordat/election'
import { createFence } from 'concordat/locks'
import { createInbox, createOutbox, createRelay } from 'concordat/outbox'
import { from, pipeline } from 'concordat/pipeline'
import { defineSaga, participant, sagaReplies } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { tccParticipant } from 'concordat/saga/tcc'
import { undoParticipant } from 'concordat/saga/undo'
import { xaParticipant } from 'concordat/saga/xa'
import { closeOnSignals, createService } from 'concordat/service'

declare const payload: StandardSchemaV1<{ id: string }, { id: string }>
declare const sql: SqlClient
export const transport: Transport = memoryTransport()
export const orders = defineChannel('orders', { payload, key: (order) => order.id })
export const paid = defineChannel('paid', { payload })
export const audit = sink(orders, { group: 'audit' }, () => {})
export const pay = processor(orders, paid, { group: 'pay' }, async (order) => order)
export const both = async (order: { id: string }) => several([to(paid, order), to(orders, order)])
export const totals = sinkBatch(orders, { group: 'totals' }, () => {})
export const answer = responder(orders, paid, { group: 'answer' }, (order) => order)
export const routed = route(orders, { group: 'route', by: 'kind', routes: { audit: () => {} } })
export const ticks = source(orders, { everyMs: 1_000 }, () => ({ id: 'tick' }))
export const pulled = pollable(orders, { group: 'pull' })
export const flow = from(orders).map((order) => order)
export const ended = flow.to(paid)
export const flows = pipeline('flows', ended)
export const binder = createBinder({ service: 'shop', transport, bindings: [audit, pay] })
export const outbox = createOutbox({ sql, service: 'shop' })
export const inbox = createInbox({ sql, outbox })
export const relay = createRelay({ outbox, publisher: binder })
export const buy = defineSaga('buy', { version: 1, input: payload }).step('reserve', { invoke: () => 1, compensate: 'none' })
export const bought = buy.step('pay', { invoke: () => 'paid', compensate: 'none', pivot: true }).step('ship', { invoke: () => true })
export const coordinator = createCoordinator({ service: 'shop', sql, outbox, sagas: [bought] })
export const replies = sagaReplies('shop')
const side = { sql, outbox }
export const stock = participant(orders, { group: 'a', ...side }, { invoke: () => 1, compensate: () => {} })
export const rooms = tccParticipant(orders, { group: 'b', ...side }, { try: () => 1, confirm: () => {}, cancel: () => {} })
export const points = undoParticipant(orders, { group: 'c', ...side }, () => 1)
export const ledger = xaParticipant(orders, { group: 'd', ...side }, () => 1)
export const stuck = () => coordinator.list({ status: 'stuck' })
export const reported = (id: string) => coordinator.report({ name: 'buy', id })
export const coordinatorHealth = () => coordinator.health()
export const bound = () => [binder.bindings(), binder.describe(), binder.health(), binder.binding('orders.audit')] as const
export const waiting = () => [outbox.stats(), outbox.parked(), relay.health()] as const
export const outcome = async () => (await coordinator.start(bought, { id: 'a', input: { id: 'a' } })).outcome()
export const locks = memoryLocks()
export const lease = () => locks.acquire('key')
export const held = () => [locks.inspect('sku'), locks.list()] as const
export const fence = createFence({ sql })
export const election = createElection({ locks, role: 'lead' })
export const observer = createObserver({ locks, role: 'lead' })
export const schedule = createSchedule({ election, jobs: [] })
export const bus = createBus({ service: 'shop' })
export const watched = () => [bus.members(), bus.watch(), bus.health()] as const
export const opened = defineEvent('opened', { payload })
export const onOpened = onEvent(opened, () => {})
export const rates = bus.config('rates', { schema: payload, initial: { id: 'a' } })
export const service = createService({ name: 'shop', transport })
export const signals = closeOnSignals({})
`

/** Program that uses drivers: their exports must fit the types that we describe. */
const DRIVER_CONSUMER = `
import { PGlite } from '@electric-sql/pglite'
import { kafkaTransport } from 'concordat/binder/kafka'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { kyselyClient } from 'concordat/core/orms'
import { pgClient, pgTransaction } from 'concordat/core/pg'
import { pgliteClient } from 'concordat/core/pglite'
import { postgresLocks, postgresStateStore } from 'concordat/postgres'
import { pgListener } from 'concordat/core/pg'
import { redisFence, redisLocks, redlockLocks } from 'concordat/redis'
import { mysqlResource } from '@concordat/mysql'
import { ConcordatModule } from '@concordat/nest'
import { Cluster, Redis } from 'ioredis'
import { Kafka } from 'kafkajs'
import { Kysely, PostgresDialect } from 'kysely'
import mysql from 'mysql2/promise'
import pg from 'pg'

export const kafka = kafkaTransport({ kafka: new Kafka({ brokers: ['localhost:9092'] }) })
export const rabbit = rabbitTransport({ url: 'amqp://localhost' })
export const resource = mysqlResource(mysql.createPool({ uri: 'mysql://localhost', gracefulEnd: true }))
export const nest = ConcordatModule.forRoot({ name: 'shop', transport: rabbit })
export const sql = [pgClient(new pg.Pool()), pgliteClient(new PGlite()), pgTransaction(new pg.Client())]
export const kysely = kyselyClient(new Kysely<{ t: { n: number } }>({ dialect: new PostgresDialect({ pool: new pg.Pool() }) }))
export const locks = [redisLocks({ client: new Redis() }), redisLocks({ client: new Cluster([]), replicas: { count: 1 } })]
export const listener = pgListener({ connect: () => new pg.Client() })
export const inDatabase = postgresLocks({ sql: pgClient(new pg.Pool()), listener })
export const cluster = postgresStateStore({ sql: pgliteClient(new PGlite()) })
export const fence = redisFence({ client: new Cluster([]) })
export const quorum = redlockLocks({ clients: [new Redis(7001), new Redis(7002), new Redis(7003)] })
`

let packed: Packed

beforeAll(async () => {
  packed = await pack()
}, 300_000)
afterAll(() => rm(packed.folder, { recursive: true, force: true }))

/** Imports every subpath in a process of its own. @returns the number of names of each, or the reason why it failed */
async function importAll(project: string): Promise<Record<string, number | string>> {
  await writeFile(
    join(project, 'import-all.js'),
    `const found = {}
     for (const subpath of ${JSON.stringify(IMPORT_PATHS)})
       found[subpath] = await import(subpath).then((names) => Object.keys(names).length, (error) => String(error))
     console.log(JSON.stringify(found))`,
  )
  const { stdout } = await run(process.execPath, ['import-all.js'], project)
  return JSON.parse(stdout) as Record<string, number | string>
}

/** Subpaths that run inside a framework, which they need to be imported. */
const INSIDE: ReadonlyMap<string, string> = new Map([['@concordat/nest', '@nestjs/common']])

/** Pages for people who work on the package itself, or that the site shows. */
const NOT_PACKED = /^(?:package\/)?docs\/(?:api|contributing|decisions|images)\//

/** Bundles, declarations and the page of the console. */
const BUILT = /^package\/dist\/(?:.*\.(?:js|d\.ts)|page\/(?:index\.html|console\.css|LICENSES))$/

describe('the packed packages', { timeout: 120_000 }, () => {
  it('the engine holds its build, the licence and the pages, and nothing else', async () => {
    const { stdout } = await run('tar', ['-tzf', packed.tarball], packed.folder)
    const files = stdout.trim().split('\n')
    for (const page of globSync('docs/**/*.md').filter((path) => !NOT_PACKED.test(path))) {
      expect(files).toContain(`package/${page}`)
    }
    const starter = globSync('examples/starter/**', { withFileTypes: true }).filter((entry) => entry.isFile())
    for (const { parentPath, name } of starter)
      expect(files).toContain(join('package', relative('.', parentPath), name))
    const others = files.filter(
      (file) =>
        !/^package\/(dist\/.*\.(js|d\.ts)|docs\/(?:[\w-]+\/)?[\w-]+\.md|docs\/monitoring\/(alerts\.yml|dashboard\.json)|examples\/starter\/.*)$/.test(
          file,
        ),
    )
    expect(files.filter((file) => NOT_PACKED.test(file))).toEqual([])
    expect(files.length).toBeLessThan(500)
    expect(others.sort()).toEqual([
      'package/CHANGELOG.md',
      'package/LICENSE',
      'package/README.md',
      'package/SECURITY.md',
      'package/package.json',
    ])
  })

  it('each package beside the engine holds its build, its licence and its page, and nothing else', async () => {
    const others = [...packed.tarballs].filter(([name]) => name !== 'concordat')
    expect(others.length).toBeGreaterThan(0)
    for (const [name, tarball] of others) {
      const { stdout } = await run('tar', ['-tzf', tarball], packed.folder)
      const files = stdout.trim().split('\n')
      expect(files, name).toContain('package/dist/index.js')
      const rest = files.filter((file) => !BUILT.test(file))
      expect(rest.sort(), name).toEqual(['package/LICENSE', 'package/README.md', 'package/package.json'])
    }
  })

  it('imports every subpath without any driver installed', async () => {
    const found = await importAll(await install(packed, 'without-peers', []))
    for (const [subpath, framework] of INSIDE) expect(found[subpath]).toContain(`Cannot find package '${framework}'`)
    for (const subpath of IMPORT_PATHS) {
      if (!INSIDE.has(subpath)) expect(found[subpath], subpath).toBeGreaterThan(0)
    }
  })

  it('imports every subpath beside the drivers', async () => {
    const found = await importAll(await install(packed, 'with-peers', PEERS))
    for (const subpath of IMPORT_PATHS) expect(found[subpath], subpath).toBeGreaterThan(0)
  })

  it('calls every class by its exported name', async () => {
    const project = await install(packed, 'named', PEERS)
    await writeFile(
      join(project, 'names.js'),
      `const renamed = []
       for (const subpath of ${JSON.stringify(IMPORT_PATHS)})
         for (const [name, value] of Object.entries(await import(subpath)))
           if (/^class /.test(String(value)) && value.name !== name) renamed.push([subpath, name, value.name])
       console.log(JSON.stringify(renamed))`,
    )
    const { stdout } = await run(process.execPath, ['names.js'], project)
    expect(JSON.parse(stdout)).toEqual([])
  })

  it('names the subpath to import instead of the whole', async () => {
    const project = await install(packed, 'root', [])
    const told = /concordat has no root export: import a part.*'concordat\/binder'/
    await expect(run(process.execPath, ['--input-type=module', '-e', "import 'concordat'"], project)).rejects.toThrow(
      told,
    )
    await expect(run(process.execPath, ['-e', "require('concordat')"], project)).rejects.toThrow(told)
  })

  it('is required from CommonJS', async () => {
    const project = await install(packed, 'commonjs', [], 'commonjs')
    const { stdout } = await run(
      process.execPath,
      ['-e', "console.log(typeof require('concordat/binder').createBinder)"],
      project,
    )
    expect(stdout.trim()).toBe('function')
  })

  it('type-checks a consumer and our own declarations without any driver installed', async () => {
    const project = await install(packed, 'typed-without-peers', ['@types/node'])
    const all = IMPORT_PATHS.filter((subpath) => !INSIDE.has(subpath))
      .map((subpath) => `import '${subpath}'`)
      .join('\n')
    await typeCheck(project, { 'consumer.ts': CONSUMER, 'all.ts': all })
  })

  it('lets a service that emits declarations export what the functions return', async () => {
    const project = await install(packed, 'emitting', ['@types/node'])
    await typeCheck(project, { 'exporter.ts': EXPORTER }, ['--skipLibCheck', '--declaration'])
  })

  it('takes the real drivers where it describes parts of them', async () => {
    const peers = [...PEERS, '@types/node', '@types/pg']
    const project = await install(packed, 'typed-with-peers', peers)
    await typeCheck(project, { 'drivers.ts': DRIVER_CONSUMER }, ['--skipLibCheck'])
  })

  it('runs a service on memory and PGlite, with every name of its options', async () => {
    await expectProgram(await installProgram(packed), {})
    expect.hasAssertions()
  })

  it('satisfies publint', async () => {
    const publint = resolve('node_modules/publint/src/cli.js')
    for (const tarball of packed.tarballs.values())
      await run(process.execPath, [publint, tarball, '--strict'], packed.folder)
  })

  // attw has 37 MB, so this test installs it.
  it('satisfies attw', { timeout: 180_000 }, async ({ skip }) => {
    const folder = await installed('attw', { '@arethetypeswrong/cli': '0.18.5' })
    if (folder instanceof Error && !mustRun()) return skip(folder.message)
    if (folder instanceof Error) throw folder
    const attw = peerFile(folder, '@arethetypeswrong/cli/package.json').replace('package.json', 'dist/index.js')
    for (const tarball of packed.tarballs.values())
      await run(process.execPath, [attw, tarball, '--profile', 'esm-only'], packed.folder)
  })
})
