/**
 * Programs of the documentation. A fenced `ts` block right after `<!-- run -->` is a program; the next fenced `text`
 * block is its output.
 */
import { globSync } from 'node:fs'
import { readFile } from 'node:fs/promises'

export interface Snippet {
  /** Page and line. */
  readonly title: string
  /** A name for it, without folder. */
  readonly file: string
  readonly code: string
  readonly prints: string
}

const MARKED = /<!-- run -->\n+```ts\n(?<code>[\s\S]*?)```\n+```text\n(?<prints>[\s\S]*?)```/g

/** @throws when a mark has no complete snippet after it */
export async function readSnippets(): Promise<readonly Snippet[]> {
  const pages = ['README.md', ...globSync('docs/**/*.md').sort((a, b) => a.localeCompare(b))]
  const snippets: Snippet[] = []
  for (const page of pages) {
    const text = await readFile(page, 'utf8')
    for (const match of text.matchAll(MARKED)) {
      const title = `${page}:${text.slice(0, match.index).split('\n').length}`
      const file = `${title.replaceAll(/\W/g, '-')}.ts`
      snippets.push({ title, file, code: match.groups?.['code'] ?? '', prints: match.groups?.['prints'] ?? '' })
    }
    const marks = text.split('<!-- run -->').length - 1
    const found = snippets.filter(({ title }) => title.startsWith(`${page}:`)).length
    if (marks !== found) throw new Error(`${page}: ${marks} run marks but ${found} complete snippets (ts, then text)`)
  }
  return snippets
}
