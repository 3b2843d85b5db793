import { globSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'
import type { Claim } from '../../scripts/api/guarantees.ts'

/** String literals of a source file that are written on one line. */
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

const claims = JSON.parse(await readFile('test/house/guarantees.json', 'utf8')) as readonly Claim[]

it('every claim has an id of its own and at least one test', () => {
  expect(claims.length).toBeGreaterThan(200)
  expect(new Set(claims.map(({ id }) => id)).size).toBe(claims.length)
  expect(claims.filter(({ tests }) => tests.length === 0)).toEqual([])
})

it('every test that a claim names exists', async () => {
  const named = claims.flatMap(({ tests }) => tests)
  const files = new Set(globSync('test/**/*.ts'))
  const titles = new Map<string, readonly string[]>()
  const missing: string[] = []
  for (const { title, file } of named) {
    if (files.has(file) && !titles.has(file)) titles.set(file, literals(await readFile(file, 'utf8')))
    if (titles.get(file)?.some((literal) => matches(literal, title)) !== true) missing.push(`"${title}" in ${file}`)
  }
  expect(missing).toEqual([])
})
