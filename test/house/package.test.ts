import { execFile } from 'node:child_process'
import { globSync } from 'node:fs'
import { copyFile, cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const repository = process.cwd()
const manifest = JSON.parse(await readFile('package.json', 'utf8')) as {
  readonly exports: Readonly<Record<string, unknown>>
  readonly dependencies: Readonly<Record<string, string>>
  readonly peerDependencies: Readonly<Record<string, string>>
}
const SUBPATHS = Object.keys(manifest.exports)
  .filter((subpath) => subpath !== './package.json')
  .map((subpath) => subpath.replace('./', 'concordat/'))

/** Uses without drivers: our declarations must stand alone. */
const CONSUMER = `
import { createBinder, defineChannel, processor, sink } from 'concordat/binder'
import { memoryTransport } from 'concordat/binder/memory'
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

/** Uses with drivers: what they export must fit the parts of them that we describe. */
const DRIVER_CONSUMER = `
import { PGlite } from '@electric-sql/pglite'
import { kafkaTransport } from 'concordat/binder/kafka'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { kyselyClient } from 'concordat/core/kysely'
import { pgClient, pgTransaction } from 'concordat/core/pg'
import { pgliteClient } from 'concordat/core/pglite'
import { redisFence, redisLocks } from 'concordat/locks/redis'
import { redlockLocks } from 'concordat/locks/redlock'
import { Cluster, Redis } from 'ioredis'
import { Kafka } from 'kafkajs'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'

export const kafka = kafkaTransport({ kafka: new Kafka({ brokers: ['localhost:9092'] }) })
export const rabbit = rabbitTransport({ url: 'amqp://localhost' })
export const sql = [pgClient(new pg.Pool()), pgliteClient(new PGlite()), pgTransaction(new pg.Client())]
export const kysely = kyselyClient(new Kysely<{ t: { n: number } }>({ dialect: new PostgresDialect({ pool: new pg.Pool() }) }))
export const locks = [redisLocks({ client: new Redis() }), redisLocks({ client: new Cluster([]), replicas: { count: 1 } })]
export const fence = redisFence({ client: new Cluster([]) })
export const quorum = redlockLocks({ clients: [new Redis(7001), new Redis(7002), new Redis(7003)] })
`

let folder: string
let tarball: string

/** Builds and packs apart from the repository's own `dist`, which other work may be using. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'concordat-package-'))
  const stage = join(folder, 'stage')
  await mkdir(stage)
  for (const file of ['package.json', 'README.md', 'CHANGELOG.md', 'LICENSE']) await copyFile(file, join(stage, file))
  await cp('docs', join(stage, 'docs'), { recursive: true })
  await run(process.execPath, ['scripts/build.ts', join(stage, 'dist')], repository)
  const { stdout } = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder], stage)
  tarball = join(folder, packed(stdout).filename)
}, 120_000)
afterAll(() => rm(folder, { recursive: true, force: true }))

async function run(command: string, args: readonly string[], cwd: string): Promise<{ stdout: string }> {
  return promisify(execFile)(command, args, { cwd, maxBuffer: 16 * 1024 * 1024 }).catch(
    (error: { stdout: string; stderr: string; message: string }) => {
      throw new Error(`${error.message}\n${error.stdout}\n${error.stderr}`)
    },
  )
}

function packed(stdout: string): { readonly filename: string; readonly files: ReadonlyArray<{ path: string }> } {
  const parsed = JSON.parse(stdout) as unknown
  return (Array.isArray(parsed) ? parsed : Object.values(parsed as object))[0]
}

/** An empty project that installed the tarball. The two real dependencies come from the repository: no network needed. */
async function install(name: string, peers: readonly string[]): Promise<string> {
  const project = join(folder, name)
  await mkdir(project)
  await writeFile(join(project, 'package.json'), JSON.stringify({ name: 'empty', private: true, type: 'module' }))
  const dependencies = Object.keys(manifest.dependencies).map((dependency) => resolve('node_modules', dependency))
  const quiet = ['--offline', '--no-audit', '--no-fund', '--ignore-scripts']
  await run('npm', ['install', ...quiet, tarball, ...dependencies], project)
  for (const peer of peers) {
    const link = join(project, 'node_modules', peer)
    await mkdir(dirname(link), { recursive: true })
    await symlink(resolve('node_modules', peer), link)
  }
  return project
}

/** Imports every subpath in a process of its own and tells how many names each gave, or why it failed. */
async function importAll(project: string): Promise<Record<string, number | string>> {
  await writeFile(
    join(project, 'import-all.js'),
    `const found = {}
     for (const subpath of ${JSON.stringify(SUBPATHS)})
       found[subpath] = await import(subpath).then((names) => Object.keys(names).length, (error) => String(error))
     console.log(JSON.stringify(found))`,
  )
  const { stdout } = await run(process.execPath, ['import-all.js'], project)
  return JSON.parse(stdout) as Record<string, number | string>
}

describe('the packed package', { timeout: 120_000 }, () => {
  it('holds what is built, the licence and the pages, and nothing else', async () => {
    const { stdout } = await run('tar', ['-tzf', tarball], folder)
    const files = stdout.trim().split('\n')
    for (const page of globSync('docs/**/*.md')) expect(files).toContain(`package/${page}`)
    const others = files.filter((file) => !/^package\/(dist\/.*\.(js|js\.map|d\.ts)|docs\/.*\.md)$/.test(file))
    expect(others.sort()).toEqual([
      'package/CHANGELOG.md',
      'package/LICENSE',
      'package/README.md',
      'package/package.json',
    ])
  })

  it('imports every subpath without any driver installed', async () => {
    const found = await importAll(await install('without-peers', []))
    for (const subpath of SUBPATHS) expect(found[subpath], subpath).toBeGreaterThan(0)
  })

  it('imports every subpath beside the drivers', async () => {
    const found = await importAll(await install('with-peers', Object.keys(manifest.peerDependencies)))
    for (const subpath of SUBPATHS) expect(found[subpath], subpath).toBeGreaterThan(0)
  })

  it('type-checks a consumer and our own declarations without any driver installed', async () => {
    const project = await install('typed-without-peers', ['@types/node'])
    const all = SUBPATHS.map((subpath) => `import '${subpath}'`).join('\n')
    await typeCheck(project, { 'consumer.ts': CONSUMER, 'all.ts': all })
  })

  it('takes the real drivers where it describes parts of them', async () => {
    const peers = [...Object.keys(manifest.peerDependencies), '@types/node', '@types/pg']
    const project = await install('typed-with-peers', peers)
    await typeCheck(project, { 'drivers.ts': DRIVER_CONSUMER }, ['--skipLibCheck'])
  })

  it('satisfies publint and attw', async () => {
    await run(process.execPath, [resolve('node_modules/publint/src/cli.js'), tarball, '--strict'], folder)
    const attw = resolve('node_modules/@arethetypeswrong/cli/dist/index.js')
    await run(process.execPath, [attw, tarball, '--profile', 'esm-only'], folder)
  })
})

/** @throws when `tsc` has anything to say, our declarations included unless told otherwise */
async function typeCheck(
  project: string,
  files: Readonly<Record<string, string>>,
  options: readonly string[] = ['--skipLibCheck', 'false'],
): Promise<void> {
  for (const [name, text] of Object.entries(files)) await writeFile(join(project, name), text)
  const strict = ['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--module', 'nodenext', '--types', 'node']
  const target = ['--target', 'es2024', '--lib', 'es2024,esnext.disposable']
  const tsc = resolve('node_modules/typescript/bin/tsc')
  await run(process.execPath, [tsc, ...strict, ...target, ...options, ...Object.keys(files)], project)
}
