/** The generated reference of the public surface, with the packages of scripts/api: loaded by `reference.test.ts`. */
import { execFile } from 'node:child_process'
import { globSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { writeGenerated } from '../../../scripts/api/pages.ts'
import {
  packageEntries,
  type Reference,
  readReference,
  undocumented,
  writePages,
} from '../../../scripts/api/reference.ts'
import { ERRORS } from './errors-table.ts'

export function tests(): void {
  let folder: string
  let reference: Reference

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'concordat-api-'))
    reference = await readReference(packageEntries(), join(folder, 'api'))
  }, 120_000)
  afterAll(() => rm(folder, { recursive: true, force: true }))

  describe('the public surface', { timeout: 120_000 }, () => {
    it('has a docstring for every name, and for every property of options', () => {
      const names = (reference.project.children ?? []).flatMap((page) => page.children ?? [])
      expect(names.length).toBeGreaterThan(400)
      expect(undocumented(reference)).toEqual([])
    })

    it('has one meaning for each name', () => {
      const homes = new Map<string, Set<string>>()
      for (const page of reference.project.children ?? [])
        for (const name of page.children ?? [])
          if (!name.isReference() && reference.exported.has(name))
            homes.set(name.name, (homes.get(name.name) ?? new Set()).add(page.name))
      expect([...homes].filter(([, pages]) => pages.size > 1)).toEqual([])
    })

    it('has fresh pages in docs: `npm run docs:api` makes them', async () => {
      const generated = await writeGenerated(reference, ERRORS, folder)
      await writePages(reference)
      const pages = globSync('api/**/*.md', { cwd: folder }).toSorted()
      expect(globSync('api/**/*.md', { cwd: 'docs' }).toSorted()).toEqual(pages)
      for (const page of [...generated, ...pages]) {
        const [fresh, committed] = await Promise.all(
          [folder, 'docs'].map((root) => readFile(join(root, page), 'utf8').catch(() => 'no such page')),
        )
        expect(committed === fresh, `docs/${page} is not what the docstrings say: npm run docs:api`).toBe(true)
      }
    })
  })

  it('a name without a docstring is found', { timeout: 120_000 }, async () => {
    const entries = { fixture: 'test/house/support/undocumented.ts', other: 'core/pglite/index.ts' }
    const found = undocumented(await readReference(entries, folder, { tsconfig: 'tsconfig.json', withTypes: false }))
    const expected = ['fixture.BareOptions', 'fixture.ToldOptions.bare', 'fixture.bare', 'fixture.bareFunction']
    expect(found.toSorted()).toEqual(expected)
  })

  it('the generator type-checks', { timeout: 120_000 }, async () => {
    const tsc = resolve('node_modules/typescript/bin/tsc')
    const found = await promisify(execFile)(process.execPath, [tsc, '-p', 'scripts/api']).catch(
      (error: { stdout: string }) => error,
    )
    expect(found.stdout).toBe('')
  })
}
