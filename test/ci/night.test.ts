import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import manifest from '../../package.json' with { type: 'json' }
import { SECTIONS } from '../night/sections.ts'

test('each command of the night is a script of the package', () => {
  const scripts = Object.values(SECTIONS).flatMap((commands) => commands.map(([script]) => script))
  expect(scripts.filter((script) => !Object.hasOwn(manifest.scripts, script ?? ''))).toEqual([])
})

test('the night plays every suite of faults', () => {
  const main = readFileSync('test/faults/main.ts', 'utf8')
  const suites = [...main.matchAll(/await import\('\.\/(\w+)\/suite\.ts'\)/g)].map(([, name]) => name)
  const played = Object.values(SECTIONS).flatMap((commands) =>
    commands.flatMap(([script, , suite]) => (script === 'faults' ? [suite] : [])),
  )
  expect(suites.length).toBeGreaterThan(5)
  expect(new Set(played)).toEqual(new Set(suites))
})

test('the scheduled workflow runs every section', () => {
  const workflow = readFileSync('.github/workflows/night.yml', 'utf8')
  const [, listed = ''] = /section: \[(.*)\]/.exec(workflow) ?? []
  expect(listed.split(', ')).toEqual(Object.keys(SECTIONS))
})
