import { execFile } from 'node:child_process'
import { globSync } from 'node:fs'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

/**
 * A fenced `ts` block right after `<!-- run -->` is a program; the next fenced `text` block is what it prints. All of
 * them are type-checked and run, from inside the repository so that they import the package by name.
 */
interface Snippet {
  readonly title: string
  readonly code: string
  readonly prints: string
}

const MARKED = /<!-- run -->\n+```ts\n(?<code>[\s\S]*?)```\n+```text\n(?<prints>[\s\S]*?)```/g
const execute = promisify(execFile)
const folder = resolve('.cache', `snippets-${process.pid}`)

async function readSnippets(): Promise<Snippet[]> {
  const pages = ['README.md', ...globSync('docs/**/*.md').sort((a, b) => a.localeCompare(b))]
  const snippets: Snippet[] = []
  for (const page of pages) {
    const text = await readFile(page, 'utf8')
    for (const match of text.matchAll(MARKED)) {
      const line = text.slice(0, match.index).split('\n').length
      snippets.push({
        title: `${page}:${line}`,
        code: match.groups?.['code'] ?? '',
        prints: match.groups?.['prints'] ?? '',
      })
    }
    const marks = text.split('<!-- run -->').length - 1
    const found = snippets.filter(({ title }) => title.startsWith(`${page}:`)).length
    if (marks !== found) throw new Error(`${page}: ${marks} run marks but ${found} complete snippets (ts, then text)`)
  }
  return snippets
}

const snippets = await readSnippets()
const fileOf = ({ title }: Snippet): string => join(folder, `${title.replaceAll(/\W/g, '-')}.ts`)

beforeAll(async () => {
  await mkdir(folder, { recursive: true })
  for (const snippet of snippets) await writeFile(fileOf(snippet), snippet.code)
  await writeFile(
    join(folder, 'tsconfig.json'),
    JSON.stringify({ extends: resolve('tsconfig.json'), include: ['*.ts'], exclude: [] }),
  )
})
afterAll(() => rm(folder, { recursive: true, force: true }))

describe('snippets in the documentation', { timeout: 120_000 }, () => {
  it('type-check', async () => {
    const tsc = resolve('node_modules/typescript/bin/tsc')
    const found = await execute(process.execPath, [tsc, '-p', folder]).catch((error: { stdout: string }) => error)
    expect(found.stdout).toBe('')
  })

  // Each is a process of its own, so two of them keep both cores busy.
  it.concurrent.for(snippets)('$title prints what the page says', async (snippet, { expect }) => {
    const { stdout } = await execute(process.execPath, ['--conditions=concordat-source', fileOf(snippet)])
    expect(stdout).toBe(snippet.prints)
  })

  it('are four in the README, one for each part, of fewer than 40 lines each', () => {
    const lengths = snippets
      .filter(({ title }) => title.startsWith('README.md'))
      .map(({ code }) => code.trimEnd().split('\n').length)
    expect(lengths).toHaveLength(4)
    expect(Math.max(...lengths)).toBeLessThan(40)
  })
})
