import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'

function copy(...names: readonly string[]) {
  const folder = mkdtempSync(join(tmpdir(), 'concordat-test-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const modules = join(folder, 'node_modules')
  const { status, stderr } = spawnSync(process.execPath, ['scripts/runtime-modules.ts', modules, ...names], {
    encoding: 'utf8',
  })
  return {
    code: status,
    stderr,
    has: (name: string) => existsSync(join(modules, name)),
    require: createRequire(join(folder, 'x.js')),
  }
}

test('the copied modules run alone, with what Concordat needs, and without what only tests need', () => {
  const copied = copy('pg', 'pino')
  expect(copied).toMatchObject({ code: 0, stderr: '' })
  expect(copied.require('pg')).toHaveProperty('Pool')
  expect(copied.require('pino')).toBeTypeOf('function')
  expect(['uuid', 'croner', '@standard-schema/spec', 'vitest', 'amqplib'].map((name) => copied.has(name))).toEqual([
    true,
    true,
    true,
    false,
    false,
  ])
})

test('a package that is not installed is refused by name', () => {
  expect(copy('pg', 'oracledb')).toMatchObject({
    code: 2,
    stderr: 'oracledb, asked for, is not in package-lock.json: run npm install, or ask for another package\n',
  })
})
