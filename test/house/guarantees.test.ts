import { existsSync, globSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { relative, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'

/** `"title" (`test/file.ts`)` in the page: the title of a test in that file. No link: the package has no tests. */
const LINK = /"(?<title>(?:(?!" \(`)[^|])+)" \(`(?<file>test\/[^`]+)`\)/g

const page = await readFile('docs/guarantees.md', 'utf8')
const losses = await readFile('docs/decisions/0018-upstream-losses.md', 'utf8')
const links = Array.from(`${page}${losses}`.matchAll(LINK), ({ groups }) => ({
  title: groups?.['title'] ?? '',
  file: groups?.['file'] ?? '',
}))

/** Every string literal of a test file that stands on one line. */
function literals(source: string): string[] {
  return Array.from(source.matchAll(/(['"`])(?<text>(?:\\.|(?!\1).)*)\1/g), ({ groups }) => groups?.['text'] ?? '')
}

/** Equal, where a `${...}` of a template stands for anything. */
function matches(literal: string, title: string): boolean {
  const parts = literal.replaceAll(/\\(.)/g, '$1').split(/\$\{[^}]*\}/)
  if (parts.join('').length < 10) return false
  const escaped = parts.map((part) => part.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&'))
  return new RegExp(`^${escaped.join('.+')}$`).test(title)
}

/** The anchors of a page, as they are made of its headings: one that is there already gets a number. */
function headingsOf(page: string): readonly string[] {
  const seen = new Map<string, number>()
  return Array.from(page.matchAll(/^#+ (.*)$/gm), ([, heading = '']) => {
    const anchor = heading
      .toLowerCase()
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .replaceAll(/[^\p{L}\p{N}_\- ]/gu, '')
      .replaceAll(' ', '-')
    const count = seen.get(anchor) ?? 0
    seen.set(anchor, count + 1)
    return count === 0 ? anchor : `${anchor}-${count}`
  })
}

describe('docs/guarantees.md and docs/decisions/0018-upstream-losses.md', () => {
  it.for(links)('names a test that exists: $title', async ({ title, file }) => {
    const titles = literals(await readFile(file, 'utf8'))
    expect(
      titles.some((literal) => matches(literal, title)),
      `"${title}" in ${file}`,
    ).toBe(true)
  })

  it('has something to show in every section of faults', () => {
    const sections = page.split(/^### /m).slice(1)
    expect(sections.length).toBeGreaterThanOrEqual(5)
    for (const section of sections) expect(section.match(LINK)?.length ?? 0, section.split('\n')[0]).toBeGreaterThan(2)
  })

  it.for(['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'SECURITY.md', ...globSync('{docs,bench,examples}/**/*.md')])(
    'and %s link to files that exist',
    async (path) => {
      const text = await readFile(path, 'utf8')
      for (const [, target = ''] of text.matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g))
        expect(existsSync(resolve(path, '..', target)), `${path} -> ${target}`).toBe(true)
    },
  )

  it.for(globSync('docs/*.md'))('and %s names sources, tests and examples that exist', async (path) => {
    const text = await readFile(path, 'utf8')
    for (const [, named = ''] of text.matchAll(
      /`((?:core|binder|outbox|saga|locks|election|bus|service|operate|test|examples|bench)\/[\w./-]+\.\w+)`/g,
    ))
      expect(existsSync(named), `${path} names ${named}`).toBe(true)
  })

  it.for(['README.md', 'CHANGELOG.md', 'SECURITY.md', ...globSync('docs/**/*.md')])(
    '%s, which the package has, links to nothing that the package has not',
    async (path) => {
      const text = await readFile(path, 'utf8')
      const targets = Array.from(text.matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g), ([, target = '']) =>
        relative('.', resolve(path, '..', target)),
      )
      const isPacked = (target: string) =>
        /^(?:docs(?:\/|$)|README\.md$|CHANGELOG\.md$|SECURITY\.md$|LICENSE$)/.test(target)
      expect(targets.filter((target) => !isPacked(target))).toEqual([])
    },
  )

  it.for(globSync('{README.md,CHANGELOG.md,SECURITY.md,CONTRIBUTING.md,docs/**/*.md}'))(
    '%s links to headings that exist',
    async (path) => {
      const text = await readFile(path, 'utf8')
      for (const [, file = '', heading = ''] of text.matchAll(/\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)/g)) {
        const target = file === '' ? path : resolve(path, '..', file)
        expect(headingsOf(await readFile(target, 'utf8')), `${path} -> ${file}#${heading}`).toContain(heading)
      }
    },
  )
})
