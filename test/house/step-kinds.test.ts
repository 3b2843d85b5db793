import { globSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { sourceFiles } from './support/sources.ts'

/** Files in which kinds of steps are declared. */
const FILES = globSync('{saga/definition/kinds/*,packages/state-language/saga-step-kinds}.ts')
const outside = sourceFiles().filter((file) => !FILES.includes(file))
const read = (file: string): string => readFileSync(file, 'utf8')

/** The kinds as their files declare them. */
const KINDS = FILES.flatMap((file) =>
  Array.from(read(file).matchAll(/^ {2}name: '(\w+)',$/gm), ([, kind = '']) => kind),
)

/** Lines that ask which kind a step is: a comparison of `kind` with the name of one, either way round, or a case. */
function comparisonsIn(source: string): readonly string[] {
  const name = `'(?:${KINDS.join('|')})'`
  const asks = new RegExp(
    `\\bkind(?:\\.name)?\\b\\)?\\s*[!=]==?\\s*${name}|${name}\\s*[!=]==?\\s*[\\w.?()]*\\bkind(?:\\.name)?\\b`,
  )
  const switches = /switch \([^)]*\bkind(?:\.name)?\)/
  const cases = new RegExp(`case ${name}:`)
  const isSwitched = switches.test(source)
  return source.split('\n').filter((line) => asks.test(line) || (isSwitched && cases.test(line)))
}

it('each kind of step is in a file of kinds', () => {
  expect(KINDS.toSorted()).toEqual([
    'choice',
    'code',
    'command',
    'each',
    'local',
    'machine',
    'pause',
    'saga',
    'signal',
    'task',
    'tcc',
    'timer',
    'verdict',
  ])
})

it('a comparison with a kind of step is found', () => {
  const asking = [
    `if (step.kind === 'local') return`,
    `if (step.kind.name === 'local') return`,
    `steps.some(({ kind }) => kind !== 'command')`,
    `const isTimer = 'timer' === step?.kind`,
    `switch (step.kind) {\n  case 'signal':`,
  ]
  for (const source of asking) expect(comparisonsIn(source)).toHaveLength(1)
  expect(comparisonsIn(`if (entry.kind === 'started' || wait === 'signal') return`)).toEqual([])
  expect(comparisonsIn(`switch (wait) {\n  case 'signal':`)).toEqual([])
})

it('no other file compares the kind of a step by name', () => {
  expect(outside.flatMap((file) => comparisonsIn(read(file)).map((found) => `${file}: ${found}`))).toEqual([])
})

it('the additions of a kind of step are known to its file alone', () => {
  const kinds = new RegExp(`import (?!type )[^;]*?from '[^']*kinds/(?!kind|methods)[\\w-]+\\.ts'`)
  const knowing = outside.filter((file) => kinds.test(read(file))).toSorted()
  // These files make the steps that no builder method adds: those of `choose`, and of code.
  expect(knowing).toEqual([
    'saga/definition/blocks.ts',
    'saga/definition/definition-with-added-steps.ts',
    'saga/global/definition.ts',
  ])
  const exported = FILES.flatMap((file) =>
    Array.from(read(file).matchAll(/^export interface (\w+Definition)\b/gm), ([, name]) => name),
  )
  expect(exported).toEqual([])
})

it('only the table of operations decides whether a text is an operation', () => {
  const both = /[!=]==? 'invoke'\s*(?:&&|\|\|)[^;]*?[!=]==? 'compensate'/
  expect(both.test(`if (reply.operation !== 'invoke' && reply.operation !== 'compensate') return`)).toBe(true)
  expect(outside.filter((file) => both.test(read(file)))).toEqual([])
})
