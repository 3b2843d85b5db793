import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { checkOutputs } from './outputs.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'concordat-test-'))
  mkdirSync(join(folder, 'taken'))
  mkdirSync(join(folder, 'closed'))
  writeFileSync(join(folder, 'file'), '')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const check = (report: string | undefined, curve?: string): void =>
  checkOutputs({ report, curve, folder: join(folder, 'run') })

it('the check of outputs accepts an existing and a new file', () => {
  expect(() => check(join(folder, 'file'), join(folder, 'new.svg'))).not.toThrow()
  expect(() => check(undefined)).not.toThrow()
})

it.for([
  ['nowhere/report.md', 'There is no folder'],
  ['file/report.md', 'There is no folder'],
  ['taken', 'It is a folder'],
  ['run/report.json', 'It is in the folder of the run'],
] as const)('the check of outputs refuses %s before anything begins', ([name, why]) => {
  const path = join(folder, name)
  expect(() => check(path)).toThrow(`--report: got ${JSON.stringify(path)}. ${why}`)
  expect(() => check(undefined, path)).toThrow(`--curve: got ${JSON.stringify(path)}. ${why}`)
})

it('the check of outputs refuses a folder that is not writable, except for the superuser', () => {
  chmodSync(join(folder, 'closed'), 0o555)
  const asked = () => check(join(folder, 'closed', 'report.md'))
  if (process.getuid?.() === 0) expect(asked).not.toThrow()
  else expect(asked).toThrow('It cannot be written')
})
