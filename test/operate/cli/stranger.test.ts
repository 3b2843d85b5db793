/** `concordat` for a first user: typing errors, the version, and where addresses come from. No server is needed. */
import { execFile, spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../../support/until.ts'

const MAIN = ['--conditions=concordat-source', resolve('packages/cli/commands/main.ts')]
const NOBODY = 'postgres://u:hunter2@127.0.0.1:1/d'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'concordat-stranger-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function concordat(args: string, env: Record<string, string> = {}) {
  const { PATH, NODE_COMPILE_CACHE } = process.env
  const options = { cwd: folder, env: { PATH, NODE_COMPILE_CACHE, ...env } }
  const ran = promisify(execFile)(process.execPath, [...MAIN, ...args.split(' ').filter(Boolean)], options)
  return ran.then(
    ({ stdout }) => ({ stdout, stderr: '', code: 0 }),
    ({ stdout, stderr, code }: { stdout: string; stderr: string; code: number }) => ({ stdout, stderr, code }),
  )
}

test('its version, by whatever name one asks', async () => {
  const { version } = JSON.parse(await readFile('package.json', 'utf8')) as { version: string }
  for (const asked of ['--version', '-V', '-v', 'version'])
    expect((await concordat(asked)).stdout).toBe(`concordat ${version}, Node ${process.version}\n`)
  expect(JSON.parse((await concordat('--version --json')).stdout)).toEqual({
    concordat: version,
    node: process.version,
  })
})

test('help by whatever name one asks', async () => {
  const { stdout } = await concordat('help')
  expect(stdout).toContain('Usage: concordat <command>')
  expect((await concordat('help saga list')).stdout).toBe((await concordat('saga list --help')).stdout)
})

test('audit takes the moment that it prints', async () => {
  expect(await concordat(`audit --before 1795969094231.501 --postgres ${NOBODY}`)).toMatchObject({ code: 3 })
  const { code, stderr } = await concordat(`audit --before 1e3 --postgres ${NOBODY}`)
  expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining('--before: expected ms since 1970') })
})

test('doctor --watch looks again after a fault', async () => {
  const args = ['doctor', '--watch', '--json', '--listen', '10ms', '--postgres', NOBODY]
  const child = spawn(process.execPath, [...MAIN, ...args], { cwd: folder, env: { PATH: process.env['PATH'] } })
  let said = ''
  child.stdout.on('data', (chunk) => (said += String(chunk)))
  await until('it has looked twice, or has ended', () => said.split('\n').length > 2 || child.exitCode !== null)
  child.kill()
  const statuses = said.trim().split('\n')
  expect(statuses.map((line) => (JSON.parse(line) as { status: string }).status)).toEqual(['fail', 'fail'])
})

test.each([
  ['sagas', 'unknown command "sagas": did you mean "saga"? Try concordat --help'],
  ['saga lsit', 'unknown command "saga lsit": did you mean "saga list"? Try concordat saga --help'],
  ['dlq redirve a b', 'unknown command "dlq redirve": did you mean "dlq redrive"? Try concordat dlq --help'],
  ['lok list', 'unknown command "lok list": did you mean "lag" or "locks"? Try concordat --help'],
  ['dlq', '"dlq" needs one more word: expected "dlq list", "dlq show", "dlq redrive", or "dlq drop". Try'],
  ['frobnicate', 'unknown command "frobnicate": expected "doctor", "saga", "outbox"'],
  ['--json', 'a command comes before its options'],
  ['saga list --statsu stuck', "unknown option '--statsu': did you mean --status? Try concordat saga list --help"],
  ['doctor --frobnicate', "unknown option '--frobnicate': expected --channel"],
])('%s: one line with what was meant, exit code 2', async (args, message) => {
  const { code, stdout, stderr } = await concordat(args)
  expect({ code, stdout, lines: stderr.split('\n').length }).toEqual({ code: 2, stdout: '', lines: 2 })
  expect(stderr).toContain(`concordat: ${message}`)
})

describe('addresses', () => {
  const declare = (text: string) => writeFile(join(folder, 'concordat.config.ts'), text)

  test('none: all the ways to give one', async () => {
    await rm(join(folder, 'concordat.config.ts'), { force: true })
    const { code, stderr } = await concordat('outbox list')
    expect(code).toBe(2)
    for (const way of ['--postgres URL', 'CONCORDAT_POSTGRES', 'PGHOST', 'concordat.config.ts'])
      expect(stderr).toContain(way)
  })

  test('addresses come from concordat.config.ts if neither the command line nor the environment names a database', async () => {
    await declare(`export const addresses: object = { postgres: '${NOBODY}', kafka: undefined }`)
    const found = await concordat('outbox list')
    expect(found).toMatchObject({ code: 3, stderr: expect.stringContaining('PostgreSQL at 127.0.0.1:1/d') })
    expect(found.stderr).toContain('The address is from addresses.postgres in concordat.config.ts')
    expect(found.stderr).not.toContain('hunter2')
    const said = await concordat('outbox list --postgres postgres://127.0.0.1:2/e')
    expect(said.stderr).toContain('PostgreSQL at 127.0.0.1:2/e')
    const set = await concordat('outbox list', { CONCORDAT_POSTGRES: 'postgres://127.0.0.1:2/e' })
    expect(set.stderr).toContain('The address is from CONCORDAT_POSTGRES')
  })

  test('wrong addresses are named, and a file that the command does not need is not run', async () => {
    await declare(`export const addresses = { postgre: '${NOBODY}' }`)
    expect(await concordat('outbox list')).toMatchObject({ code: 2, stderr: expect.stringContaining('"postgre"') })
    await declare(`export const addresses = { postgres: '${NOBODY}', kafka: 'kafka-1' }`)
    const { stderr } = await concordat('doctor')
    expect(stderr).toContain('addresses.kafka in concordat.config.ts: expected brokers')
    await declare(`throw new Error('it was run')`)
    const away = await concordat('outbox list --postgres postgres://127.0.0.1:2/e')
    expect(away).toMatchObject({ code: 3, stderr: expect.not.stringContaining('it was run') })
  })
})
