import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { UsageError } from '../errors.ts'
import { LOCK, lockRun } from './run-lock.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'concordat-test-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const written = (): string => readFileSync(join(folder, LOCK), 'utf8')

it('the lock of a run’s folder is refused while its process lives, with the remedy', () => {
  const release = lockRun(folder)
  expect(() => lockRun(folder)).toThrow(UsageError)
  expect(() => lockRun(folder)).toThrow(`The process ${process.pid} is at work in it`)
  release()
  lockRun(folder)()
  expect(readdirSync(folder)).toEqual([])
})

it('the lock of a run’s folder is taken over from a process that is gone', async () => {
  const child = spawn(process.execPath, ['--version'], { stdio: 'ignore' })
  const { pid } = child
  await once(child, 'exit')
  writeFileSync(join(folder, LOCK), JSON.stringify({ pid, began: 'then' }))
  const release = lockRun(folder)
  expect(JSON.parse(written())).toMatchObject({ pid: process.pid })
  release()
  expect(readdirSync(folder)).toEqual([])
})

it.for([
  ['of an earlier process with the same number', JSON.stringify({ pid: process.pid, began: 'long ago' })],
  ['that cannot be read', '{"pid": '],
] as const)('the lock of a run’s folder is taken over %s', ([, text]) => {
  writeFileSync(join(folder, LOCK), text)
  lockRun(folder)()
  expect(readdirSync(folder)).toEqual([])
})

it('the lock of a run’s folder is not released by a process that has lost it', () => {
  const release = lockRun(folder)
  writeFileSync(join(folder, LOCK), 'of another')
  release()
  expect(written()).toBe('of another')
})
