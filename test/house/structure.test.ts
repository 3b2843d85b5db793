import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, it } from 'vitest'
import { DRIVERS } from '../../scripts/arrows.ts'

type Graph = ReadonlyMap<string, readonly string[]>

/** What each file imports from another file of ours, types too. */
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

/** One way around for each file that can be reached from itself. */
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

it('finds a circle', () => {
  const graph = new Map([
    ['a', ['b']],
    ['b', ['c']],
    ['c', ['b', 'd']],
    ['d', []],
  ])
  expect(cyclesIn(graph)).toEqual(['b -> c -> b', 'c -> b -> c'])
})

it('no file of ours leads back to itself, types counted', () => {
  const files = globSync('{core,binder,outbox,saga,locks,election,bus,service,operate,testing,examples}/**/*.ts')
  expect(files.length).toBeGreaterThan(250)
  expect(cyclesIn(importsOf(files))).toEqual([])
})

it.for(Object.entries(DRIVERS))('%s leads to none of its drivers, by whatever way', ([adapter, { names, but }]) => {
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
  const files = globSync('{core,binder,outbox,saga,locks,election,bus,service,operate,testing}/**/index.ts')
  const others = files.filter((file) => {
    const source = readFileSync(file, 'utf8').replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')
    return source.replaceAll(/^export (?:type )?(?:\{[^}]*\}|\*) from '[^']+'$/gm, '').trim() !== ''
  })
  expect(files.length).toBeGreaterThan(30)
  expect(others).toEqual([])
})
