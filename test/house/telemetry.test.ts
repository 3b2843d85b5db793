import { globSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'

/** Declaration of an instrument: a name with a unit. */
const INSTRUMENT = /\bname: '((?:concordat|messaging)\.[\w.]+)',\s+unit: '/g

/** Metric names in the first cell of a row: a second name may leave out the prefix that it shares with the first. */
function namesOf(cell: string): string[] {
  const [first = '', ...others] = Array.from(cell.matchAll(/`([^`]+)`/g), ([, name = '']) => name)
  return [first, ...others.map((name) => (name.startsWith('.') ? first.replace(/\.\w+$/, name) : name))]
}

it('the page lists every metric that is emitted, and no other', () => {
  const sources = globSync('{core,binder,outbox,saga,locks,election,bus}/**/*.ts').map((file) =>
    readFileSync(file, 'utf8'),
  )
  const emitted = sources.flatMap((source) => Array.from(source.matchAll(INSTRUMENT), ([, name]) => name))
  const section =
    readFileSync('docs/production/telemetry.md', 'utf8').split('\n## Metrics\n')[1]?.split('\n## ')[0] ?? ''
  const rows = section.split('\n').filter((line) => line.startsWith('| `'))
  const listed = rows.flatMap((row) => namesOf(row.split(' | ')[0] ?? ''))
  expect(new Set(listed)).toEqual(new Set(emitted))
  expect(listed).toHaveLength(new Set(listed).size)
  expect(listed.length).toBeGreaterThan(30)
})
