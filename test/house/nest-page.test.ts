/** The files of docs/frameworks/nest.md: its application as a process, and its tests. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { afterAll, expect, test } from 'vitest'
import { makingDatabases } from '../support/pglite-copy.ts'
import { writePageFiles } from './support/page-files.ts'

const page = await writePageFiles('docs/frameworks/nest.md', {})
afterAll(() => page.remove())

/** A test of the page, registered here. */
await import(join(page.folder, 'test/payments.test.ts'))

const run = promisify(execFile)
const tsc = resolve('node_modules/typescript/bin/tsc')

/** Compiles these files alone: here the package is its sources, which are no part of the application. */
async function compiled(): Promise<string> {
  await run(process.execPath, [tsc, '-p', page.folder, '--noCheck', '--noResolve'])
  return join(page.folder, 'dist/main.js')
}

test('the application type-checks', { timeout: 120_000 }, async () => {
  const compilerOptions = {
    noEmit: true,
    lib: ['es2024', 'esnext.disposable'],
    rootDir: resolve('.'),
    allowImportingTsExtensions: true,
    customConditions: ['concordat-source'],
    types: ['node'],
  }
  const project = join(page.folder, 'tsconfig.check.json')
  await writeFile(project, JSON.stringify({ extends: './tsconfig.json', compilerOptions, include: ['src', 'test'] }))
  const found = await run(process.execPath, [tsc, '-p', project]).catch((error: { stdout: string }) => error)
  expect(found.stdout).toBe('')
})

test('the application takes an order, charges it, and ends with 0 on a signal', {
  timeout: 120_000,
}, async () => {
  const main = await compiled()
  const child = spawn(process.execPath, ['--conditions=concordat-source', main], {
    env: { ...makingDatabases(), PORT: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const lines: string[] = []
  const ended = once(child, 'exit')
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      lines.push(line)
      const [, port] = /^listening on http:\/\/.*:(\d+)$/.exec(line) ?? []
      if (port !== undefined) {
        const place = (order: object): Promise<Response> =>
          fetch(`http://127.0.0.1:${port}/orders`, {
            method: 'POST',
            headers: { 'content-type': 'application/json' },
            body: JSON.stringify(order),
          })
        const refused = await place({ orderId: 'o-1', cents: 'five' })
        expect({ status: refused.status, body: await refused.json() }).toMatchObject({
          status: 400,
          body: { error: { code: 'core.schema' } },
        })
        expect((await place({ orderId: 'o-1', cents: 500 })).status).toBe(202)
      }
      if (line.startsWith('charged')) child.kill('SIGTERM')
    }
    expect(await ended).toEqual([0, null])
  } finally {
    child.kill('SIGKILL')
  }
  expect(lines.slice(1)).toEqual(['charged 500 for o-1'])
})
