import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, it } from 'vitest'
import { DRIVERS } from '../../scripts/arrows.ts'
import { entriesOf, PACKAGES } from '../../scripts/packages.ts'
import { sourceFiles } from './support/sources.ts'

type Graph = ReadonlyMap<string, readonly string[]>

/** Imports of each file from other files of the package, types too. */
function importsOf(files: readonly string[]): Graph {
  const from = /(?:from|import)\s*\(?'(\.[^']+)'/g
  return new Map(
    files.map((file) => {
      const targets = Array.from(readFileSync(file, 'utf8').matchAll(from), ([, target = '']) =>
        join(dirname(file), target),
      )
      return [file, targets.filter((target) => existsSync(target))]
    }),
  )
}

/** Finds a cycle for each file that can be reached from itself. */
function cyclesIn(graph: Graph): readonly string[] {
  const ways = [...graph.keys()].map((start) => wayBack(graph, start)).filter((way) => way !== undefined)
  return ways.map((way) => way.join(' -> '))
}

function wayBack(graph: Graph, start: string): readonly string[] | undefined {
  const cameFrom = new Map<string, string>()
  const open = [start]
  for (let file = open.shift(); file !== undefined; file = open.shift()) {
    for (const target of graph.get(file) ?? []) {
      if (target === start) {
        const way = [start]
        for (let at = file; at !== start; at = cameFrom.get(at) ?? start) way.unshift(at)
        return [start, ...way]
      }
      if (cameFrom.has(target)) continue
      cameFrom.set(target, file)
      open.push(target)
    }
  }
  return undefined
}

function reachableFrom(graph: Graph, start: string): ReadonlySet<string> {
  const found = new Set<string>()
  const open = [start]
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    for (const target of graph.get(file) ?? []) {
      if (found.has(target)) continue
      found.add(target)
      open.push(target)
    }
  }
  return found
}

it('an import cycle is found', () => {
  const graph = new Map([
    ['a', ['b']],
    ['b', ['c']],
    ['c', ['b', 'd']],
    ['d', []],
  ])
  expect(cyclesIn(graph)).toEqual(['b -> c -> b', 'c -> b -> c'])
})

it('no file leads back to itself, types counted', () => {
  const files = [...sourceFiles(), ...globSync('examples/**/*.ts')]
  expect(files.length).toBeGreaterThan(250)
  expect(cyclesIn(importsOf(files))).toEqual([])
})

it.for(Object.entries(DRIVERS))('%s leads to none of its drivers, on any path', ([adapter, { names, but }]) => {
  const inside = globSync(`${adapter}/**/*.ts`)
  const isDriver = (file: string): boolean => names.some((name) => file.startsWith(`${adapter}/${name}/`))
  const ours = inside.filter((file) => !isDriver(file) && !but.includes(file.slice(adapter.length + 1)))
  expect(ours.length).toBeGreaterThan(10)
  const graph = importsOf(globSync('{core,binder}/**/*.ts'))
  const drivers = ours.flatMap((file) =>
    [...reachableFrom(graph, file)].filter(isDriver).map((to) => `${file} -> ${to}`),
  )
  expect(drivers).toEqual([])
})

it('an index.ts exports, and does nothing else', () => {
  const files = sourceFiles('index.ts')
  const others = files.filter((file) => {
    const source = readFileSync(file, 'utf8').replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')
    return source.replaceAll(/^export (?:type )?(?:\{[^}]*\}|\*) from '[^']+'$/gm, '').trim() !== ''
  })
  expect(files.length).toBeGreaterThan(30)
  expect(others).toEqual([])
})

/** Import paths of a file that its package may not use: a file outside, or a name that users of the package do not have. */
function foreignImports(folder: string, file: string, source: string, names: ReadonlySet<string>): readonly string[] {
  const paths = Array.from(source.matchAll(/(?:from|import)\s*\(?'([^']+)'/g), ([, path = '']) => path)
  return paths.filter((path) => {
    if (path.startsWith('.')) return !join(dirname(file), path).startsWith(folder)
    const bare = path.split('/', path.startsWith('@') ? 2 : 1).join('/')
    return !path.startsWith('node:') && !names.has(bare === 'concordat' ? path : bare)
  })
}

it('a foreign import of a package is found', () => {
  const names = new Set(['concordat/binder', '@nestjs/common'])
  const found = (path: string): readonly string[] =>
    foreignImports('packages/nest/', 'packages/nest/a/b.ts', `import { x } from '${path}'`, names)
  for (const path of ['../c.ts', 'node:fs', 'concordat/binder', '@nestjs/common', '@nestjs/common/enums'])
    expect(found(path)).toEqual([])
  for (const path of ['../../core/sql.ts', '../../../core/sql.ts', 'concordat/saga', 'concordat', 'pg', '@nestjs/core'])
    expect(found(path)).toEqual([path])
})

/** Packages whose code is part of the built files: the page of the console. */
const BUNDLED: Readonly<Record<string, readonly string[]>> = { 'packages/console/': ['preact'] }

it('a package imports its own files, what its manifest names, and public subpaths of the engine', () => {
  const [engine, ...others] = PACKAGES
  const subpaths = engine === undefined ? [] : entriesOf(engine).map(({ path }) => path)
  const foreign = others.flatMap(({ folder, manifest }) => {
    const needed = Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies })
    const names = new Set([...needed, ...subpaths, ...(BUNDLED[folder] ?? [])].filter((name) => name !== 'concordat'))
    return sourceFiles()
      .filter((file) => file.startsWith(folder))
      .flatMap((file) =>
        foreignImports(folder, file, readFileSync(file, 'utf8'), names).map((path) => `${file}: ${path}`),
      )
  })
  expect(foreign).toEqual([])
})

it('all packages have one version, and require the engine of the same', () => {
  const [engine, ...others] = PACKAGES.map(({ manifest }) => manifest)
  expect(others.length).toBeGreaterThan(0)
  for (const { version, peerDependencies } of others) {
    expect(version).toBe(engine?.version)
    expect(peerDependencies?.['concordat']).toBe(engine?.version)
  }
})

it('runs no script when a user installs a package: npm asks whether to allow each', () => {
  const asked = ['preinstall', 'install', 'postinstall', 'prepublish', 'preprepare', 'prepare', 'postprepare']
  const found = PACKAGES.flatMap(({ manifest }) =>
    asked.filter((script) => script in (manifest.scripts ?? {})).map((script) => `${manifest.name}: ${script}`),
  )
  expect(found).toEqual([])
})

it('tests hold a measured time to a limit with expectWithin, which knows slow machines', () => {
  const measured = /expect\([^\n]*(?:performance\.now\(\) - |[tT]ookMs\b)[^\n]*\.toBeLessThan/
  const own = ['test/house/structure.test.ts', 'test/support/expect-within.ts']
  const files = globSync('test/**/*.ts').filter((file) => !own.includes(file))
  expect(files.filter((file) => measured.test(readFileSync(file, 'utf8')))).toEqual([])
  expect(measured.test('expect(performance.now() - begun).toBeLessThan(500)')).toBe(true)
})
