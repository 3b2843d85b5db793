/** Links and file names in the pages. Each test lists all faults at once. */
import { existsSync, globSync, readFileSync } from 'node:fs'
import { relative, resolve } from 'node:path'
import { expect, it } from 'vitest'

const ROOT_PAGES = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'SECURITY.md']
const PACKED = [
  'README.md',
  'CHANGELOG.md',
  'SECURITY.md',
  ...globSync('docs/**/*.md').filter((page) => !/^docs\/(?:contributing|decisions)\//.test(page)),
]
const FILE_LINK = /\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g
const HEADING_LINK = /\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)/g
const NAMED_FILE =
  /`((?:core|binder|outbox|saga|locks|election|bus|service|operator|packages|test|examples|bench)\/[\w./-]+\.\w+)`/g

/** Anchors of a page as renderers derive them from its headings; a repeated one gets a number. */
function anchorsOf(page: string): ReadonlySet<string> {
  const seen = new Map<string, number>()
  const anchors = Array.from(page.matchAll(/^#+ (.*)$/gm), ([, heading = '']) => {
    const anchor = heading
      .toLowerCase()
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .replaceAll(/[^\p{L}\p{N}_\- ]/gu, '')
      .replaceAll(' ', '-')
    const count = seen.get(anchor) ?? 0
    seen.set(anchor, count + 1)
    return count === 0 ? anchor : `${anchor}-${count}`
  })
  return new Set(anchors)
}

const read = (path: string): string => readFileSync(path, 'utf8')

/** @returns what `faultsIn` finds in each page, as `page -> fault` */
function check(pages: readonly string[], faultsIn: (page: string, text: string) => readonly string[]): string[] {
  expect(pages.length).toBeGreaterThan(3)
  return pages.flatMap((page) => faultsIn(page, read(page)).map((fault) => `${page} -> ${fault}`))
}

function targetsOf(page: string, text: string): string[] {
  return Array.from(text.matchAll(FILE_LINK), ([, target = '']) => resolve(page, '..', target))
}

it('each page has one title', () => {
  const pages = [...ROOT_PAGES, ...globSync('{docs,bench,examples}/**/*.md')]
  const faults = check(pages, (_page, text) => {
    const titles = text.replaceAll(/^ *```.*?^ *```/gms, '').match(/^# .*$|(?<=[^#\s])# [A-Z].*$/gm) ?? []
    return titles.length === 1 ? [] : [`${titles.length} titles: ${titles.join(' | ')}`]
  })
  expect(faults).toEqual([])
})

it('links lead to files that exist', () => {
  const pages = [...ROOT_PAGES, ...globSync('{docs,bench,examples}/**/*.md')]
  expect(check(pages, (page, text) => targetsOf(page, text).filter((target) => !existsSync(target)))).toEqual([])
})

it('links lead to headings that exist', () => {
  const anchors = new Map<string, ReadonlySet<string>>()
  const has = (file: string, heading: string): boolean => {
    if (!existsSync(file)) return true
    if (!anchors.has(file)) anchors.set(file, anchorsOf(read(file)))
    return anchors.get(file)?.has(heading) === true
  }
  const faults = check([...ROOT_PAGES, ...globSync('docs/**/*.md')], (page, text) =>
    Array.from(text.matchAll(HEADING_LINK)).flatMap(([, file = '', heading = '']) =>
      has(file === '' ? page : resolve(page, '..', file), heading) ? [] : [`${file}#${heading}`],
    ),
  )
  expect(faults).toEqual([])
})

it('pages of the package have no links outside the package', () => {
  const isPacked = (target: string): boolean =>
    /^(?:docs(?:\/|$)|README\.md$|CHANGELOG\.md$|SECURITY\.md$|LICENSE$)/.test(relative('.', target))
  expect(check(PACKED, (page, text) => targetsOf(page, text).filter((target) => !isPacked(target)))).toEqual([])
})

it('pages name sources, tests and examples that exist', () => {
  const pages = globSync('docs/**/*.md').filter((page) => !/^docs\/(?:api|decisions)\//.test(page))
  const faults = check(pages, (_page, text) =>
    Array.from(text.matchAll(NAMED_FILE), ([, named = '']) => named).filter((named) => !existsSync(named)),
  )
  expect(faults).toEqual([])
})
