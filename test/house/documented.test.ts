import { globSync, readFileSync } from 'node:fs'
import * as binder from 'concordat/binder'
import { describe, expect, it } from 'vitest'

const pages = ['README.md', ...globSync('docs/*.md')].map((page) => readFileSync(page, 'utf8')).join('\n')
const isNamed = (name: string): boolean => new RegExp(`\\b${name}\\b`).test(pages)

/** The names of an interface's members, as they are declared. */
function membersOf(file: string, declaration: string): string[] {
  const text = readFileSync(file, 'utf8')
  const body = text.slice(text.search(new RegExp(`interface ${declaration}\\b`))).split('\n}')[0] ?? ''
  return [...body.matchAll(/^ {2}(?:readonly )?(\w+)\??[:(<]/gm)].map((match) => match[1] ?? '')
}

describe('the pages name', () => {
  // It loads the whole package, which takes a busy machine longer than a test usually has.
  it('every constant that a user can import', { timeout: 180_000 }, async () => {
    const { exports } = JSON.parse(readFileSync('package.json', 'utf8')) as { readonly exports: object }
    const subpaths = Object.keys(exports).filter((subpath) => !/^\.(?:\/package\.json)?$/.test(subpath))
    const modules = await Promise.all(
      subpaths.map(
        (subpath) => import(subpath.replace('.', 'concordat')) as Promise<Readonly<Record<string, unknown>>>,
      ),
    )
    const constants = modules.flatMap((module) =>
      Object.keys(module).filter((name) => typeof module[name] !== 'function'),
    )
    expect(constants.length).toBeGreaterThan(20)
    expect(constants.filter((name) => !isNamed(name))).toEqual([])
  })

  it('every function of the binder', () => {
    const functions = Object.entries(binder).filter(([, value]) => typeof value === 'function')
    expect(functions.length).toBeGreaterThan(30)
    expect(functions.map(([name]) => name).filter((name) => !isNamed(name))).toEqual([])
  })

  it.each([
    ['binder/bindings/declarations.ts', 'ConsumerOptions'],
    ['binder/bindings/declarations.ts', 'BatchSinkOptions'],
    ['binder/bindings/declarations.ts', 'PollableOptions'],
    ['binder/bindings/flow-options.ts', 'BatchLimits'],
    ['binder/bindings/flow-options.ts', 'RateLimitOptions'],
    ['binder/bindings/flow-options.ts', 'CircuitBreakerOptions'],
    ['binder/channel/channel.ts', 'ChannelOptions'],
    ['binder/channel/encode.ts', 'SendOptions'],
  ])('every member of %s, %s', (file, declaration) => {
    const names = membersOf(file, declaration)
    expect(names).not.toEqual([])
    expect(names.filter((name) => !isNamed(name))).toEqual([])
  })
})
