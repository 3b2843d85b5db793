/** `concordat asyncapi` as a process, over modules that a user could have written. */
import { execFile } from 'node:child_process'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const MAIN = ['--conditions=concordat-source', resolve('packages/cli/commands/main.ts')]
/** Within the repository, so that the modules find the package by its name. */
const folder = resolve('.cache', `asyncapi-cli-${process.pid}`)

const shop = (payload: string): string => `
import { appendFileSync } from 'node:fs'
import { defineChannel, sink } from 'concordat/binder'
import { memoryTransport } from 'concordat/memory'
import { createService } from 'concordat/service'
import { z } from 'zod'
const placed = defineChannel('orders.placed', { payload: z.object(${payload}) })
const stock = sink(placed, { group: 'stock' }, () => appendFileSync('ran', 'x'))
export const orders = createService({ name: 'orders', transport: memoryTransport(), bindings: [stock] })
export const admin = { name: 'admin', sends: [placed] }
export const asyncapi = { info: { title: 'The shop', version: '3.0.0' } }
// Keeps a process running.
setInterval(() => {}, 1_000)
`

const MODULES: Readonly<Record<string, string>> = {
  'concordat.config.ts': shop('{ id: z.string() }'),
  'later.ts': shop('{ id: z.string(), sku: z.string() }'),
  'starts.ts': `${shop('{ id: z.string() }')}\nawait orders.start()`,
  'sends.ts': `${shop('{ id: z.string() }')}\nawait orders.start()\nawait orders.send(placed, { id: 'o-1' })`,
  'empty.ts': 'export const answer = 42',
  'enum.ts': 'export enum Colour { Red }',
  'broken.ts': "import { nothing } from './missing.ts'\nexport { nothing }",
}

interface Ran {
  readonly stdout: string
  readonly stderr: string
  readonly code: number
}

const cli = (...args: string[]): Promise<Ran> =>
  promisify(execFile)(process.execPath, [...MAIN, ...args], { cwd: folder }).then(
    ({ stdout, stderr }) => ({ stdout, stderr, code: 0 }),
    ({ stdout, stderr, code }: Ran) => ({ stdout, stderr, code }),
  )

beforeAll(async () => {
  await mkdir(folder, { recursive: true })
  for (const [name, text] of Object.entries(MODULES)) await writeFile(join(folder, name), text)
})
afterAll(() => rm(folder, { recursive: true, force: true }))

describe('concordat asyncapi', { timeout: 180_000 }, () => {
  test('prints the document of what a module exports, and ends', async () => {
    const { stdout, stderr, code } = await cli('asyncapi')
    expect(stderr).toBe('')
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({
      info: { title: 'The shop', version: '3.0.0' },
      channels: { 'orders.placed': {}, 'orders.placed.stock.dlq': {} },
      operations: { 'admin.send.orders.placed': {}, 'orders.receive.orders.placed.stock': {} },
    })
  })

  test('writes it, and tells what a change means to readers', async () => {
    const written = await cli('asyncapi', '--out', 'asyncapi.json', '--title', 'Another')
    expect(written).toMatchObject({ stdout: 'asyncapi.json: 2 channels, 3 operations\n', stderr: '', code: 0 })
    expect(JSON.parse(await readFile(join(folder, 'asyncapi.json'), 'utf8'))).toMatchObject({
      info: { title: 'Another' },
    })
    const same = await cli('asyncapi', 'diff', 'asyncapi.json', 'concordat.config.ts')
    expect(same).toMatchObject({ stdout: 'It breaks no reader.\n', code: 0 })
    const broken = await cli('asyncapi', 'diff', 'asyncapi.json', 'later.ts')
    expect(broken.code).toBe(1)
    expect(broken.stdout).toMatch(/new readers +orders\.placed +payload sku +it is required, and may be missing/)
    expect(JSON.parse((await cli('asyncapi', 'diff', 'asyncapi.json', 'later.ts', '--json')).stdout)).toMatchObject({
      breaks: true,
    })
  })

  test.each([
    ['starts.ts', /orders\.start was called while declarations are read, where nothing may run/],
    ['sends.ts', /orders\.start was called/],
    ['empty.ts', /exports no service: export what createService returned/],
    ['enum.ts', /Node reads TypeScript that can be erased only/],
    ['broken.ts', /missing\.ts/],
    ['none.ts', /there is no such file/],
  ])('refuses %s: exit code 2', async (module, says) => {
    const { stdout, stderr, code } = await cli('asyncapi', module)
    expect(stderr).toMatch(says)
    expect({ stdout, code }).toEqual({ stdout: '', code: 2 })
  })

  test('is completed with its own options, and diff with those of diff', async () => {
    const { stdout } = await cli('completion', 'bash')
    const lines = stdout.split('\n')
    const [diff, own] = ['"asyncapi diff")', '"asyncapi"|"asyncapi "*)'].map((text) =>
      lines.findIndex((line) => line.includes(text)),
    )
    expect(diff).toBeGreaterThan(0)
    expect(own).toBeGreaterThan(diff as number)
    expect(lines[own as number]).toMatch(/--out .* diff"/)
  })

  test('ran no handler', async () => {
    await expect(readFile(join(folder, 'ran'))).rejects.toMatchObject({ code: 'ENOENT' })
  })
})
