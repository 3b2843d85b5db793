import { execFile } from 'node:child_process'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readSnippets } from './support/snippets.ts'

/** Checks everything but the snippets' output, which `snippets.int.test.ts` checks. */
const snippets = await readSnippets()
const folder = resolve('.cache', `snippets-${process.pid}`)

beforeAll(async () => {
  await mkdir(folder, { recursive: true })
  for (const { file, code } of snippets) await writeFile(join(folder, file), code)
  await writeFile(
    join(folder, 'tsconfig.json'),
    JSON.stringify({ extends: resolve('tsconfig.json'), include: ['*.ts'], exclude: [] }),
  )
})
afterAll(() => rm(folder, { recursive: true, force: true }))

describe('snippets in the documentation', { timeout: 120_000 }, () => {
  it('type-check', async () => {
    const tsc = resolve('node_modules/typescript/bin/tsc')
    const found = await promisify(execFile)(process.execPath, [tsc, '-p', folder]).catch(
      (error: { stdout: string }) => error,
    )
    expect(found.stdout).toBe('')
  })

  it('come first in the README, which is short', async () => {
    const readme = await readFile('README.md', 'utf8')
    expect(readme.split(/\s+/).length).toBeLessThanOrEqual(700)
    const [first] = snippets.filter(({ title }) => title.startsWith('README.md'))
    expect(readme.split('\n').indexOf('```ts')).toBeLessThan(20)
    expect(first?.code.trimEnd().split('\n').length).toBeLessThan(12)
  })
})
