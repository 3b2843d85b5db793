import { existsSync, globSync } from 'node:fs'
import { expect, it } from 'vitest'
import { NAV, SIDEBAR } from '../../scripts/site/.vitepress/pages.ts'

/** Addresses of pages outside docs/. */
const ELSEWHERE = new Set(['/security', '/changelog', '/contributing/guide', '/contributing/benchmarks', '/decisions/'])

const linked = SIDEBAR.flatMap(({ items }) => items.map(({ link }) => link))

it('the table of contents leads to pages that exist', () => {
  const missing = [...linked, ...NAV.map(({ link }) => link.replace(/\/$/, '/index'))].filter(
    (link) => !ELSEWHERE.has(link) && !existsSync(`docs${link}.md`),
  )
  expect(missing).toEqual([])
})

it('the table of contents has every page', () => {
  const pages = globSync('docs/**/*.md').filter((page) => !/^docs\/(?:api|decisions)\//.test(page))
  expect(
    pages.map((page) => page.slice('docs'.length, -'.md'.length)).filter((page) => !linked.includes(page)),
  ).toEqual([])
})
