/**
 * Modules that a subpath loads: no driver, and not the rest of the package. Time and memory follow from it and are not
 * stable enough to test.
 */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, it } from 'vitest'

/** Limits on the loaded files of this package, slightly above those of November 2026; packages exactly. */
const BUDGETS = {
  core: { files: 25, packages: [] },
  memory: { files: 68, packages: [] },
  postgres: { files: 139, packages: ['uuid'] },
  redis: { files: 92, packages: ['uuid'] },
  binder: { files: 159, packages: ['uuid'] },
  'binder/kafka': { files: 111, packages: [] },
  'binder/kafka/platformatic': { files: 107, packages: [] },
  'binder/rabbitmq': { files: 75, packages: ['uuid'] },
  pipeline: { files: 41, packages: [] },
  outbox: { files: 112, packages: ['uuid'] },
  saga: { files: 121, packages: ['uuid'] },
  'saga/coordinator': { files: 220, packages: ['uuid'] },
  locks: { files: 49, packages: [] },
  election: { files: 38, packages: ['croner', 'uuid'] },
  bus: { files: 72, packages: ['uuid'] },
  service: { files: 337, packages: ['croner', 'uuid'] },
} as const

const PROGRAM = `
import { registerHooks } from 'node:module'
const urls = new Set()
registerHooks({ load: (url, context, next) => (urls.add(url), next(url, context)) })
await import(process.argv[1])
const files = [...urls].filter((url) => url.startsWith('file:'))
const own = files.filter((url) => !url.includes('/node_modules/'))
const names = files.flatMap((url) => /.*\\/node_modules\\/((?:@[^/]+\\/)?[^/]+)/.exec(url)?.[1] ?? [])
console.log(JSON.stringify({ files: own.length, packages: [...new Set(names)].sort() }))
`

async function loadedBy(subpath: string): Promise<{ readonly files: number; readonly packages: readonly string[] }> {
  const args = ['--conditions=concordat-source', '--input-type=module', '--eval', PROGRAM, `concordat/${subpath}`]
  const { stdout } = await promisify(execFile)(process.execPath, args)
  return JSON.parse(stdout) as Awaited<ReturnType<typeof loadedBy>>
}

describe('importing concordat/...', () => {
  it.for(Object.entries(BUDGETS))(
    '%s loads only its own parts',
    { timeout: 60_000 },
    async ([subpath, budget], { expect }) => {
      const loaded = await loadedBy(subpath)
      expect(loaded.packages).toEqual(budget.packages)
      expect(loaded.files).toBeGreaterThan(0)
      expect(loaded.files).toBeLessThanOrEqual(budget.files)
    },
  )
})
