import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

interface Entry {
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly integrity?: string
  readonly link?: boolean
  readonly dev?: boolean
  readonly optional?: boolean
  readonly os?: readonly string[]
}

interface Lock {
  readonly packages: Readonly<Record<string, Entry>>
}

test('the lockfile names every optional package of every platform, or npm ci refuses it', () => {
  const lock = JSON.parse(readFileSync(new URL('../package-lock.json', import.meta.url), 'utf8')) as Lock
  const missing = Object.entries(lock.packages).flatMap(([path, entry]) =>
    Object.keys(entry.optionalDependencies ?? {}).filter(
      (name) => !(`node_modules/${name}` in lock.packages) && !(`${path}/node_modules/${name}` in lock.packages),
    ),
  )
  expect(missing).toEqual([])
})

test('the lockfile has the hash of every package, but for binaries of development tools for other platforms', () => {
  const lock = JSON.parse(readFileSync(new URL('../package-lock.json', import.meta.url), 'utf8')) as Lock
  const bare = Object.entries(lock.packages).flatMap(([path, { integrity, link, dev, optional, os }]) =>
    !path.includes('node_modules/') || link === true || integrity !== undefined ? [] : [{ path, dev, optional, os }],
  )
  const needed = bare.filter(({ dev, optional, os }) => dev !== true || optional !== true || os === undefined)
  expect(needed).toEqual([])
})
