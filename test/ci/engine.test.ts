import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { images } from '../support/servers/container-images.ts'

const RUN = 'scripts/engine/run.sh'
const UNAVAILABLE = 75

function run(args: readonly string[], path = process.env['PATH']) {
  const { status, stdout, stderr } = spawnSync('/bin/bash', [RUN, ...args], {
    encoding: 'utf8',
    env: { ...process.env, PATH: path },
  })
  return { code: status, stdout, stderr }
}

/** A folder with these programs of this machine and no others. */
function pathWith(...programs: readonly string[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'concordat-test-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  for (const program of programs) symlinkSync(`/usr/bin/${program}`, join(folder, program))
  return folder
}

describe('scripts/engine/run.sh', () => {
  test('refuses an unknown server with the choices, before it does anything', () => {
    expect(run(['--servers', 'redis,oracle', 'true'])).toEqual({
      code: 2,
      stdout: '',
      stderr: '--servers: there is no image of "oracle", choose from kafka,mariadb,postgres,rabbitmq,redis\n',
    })
  })

  test('prints its usage without a command', () => {
    expect(run([])).toEqual({ code: 2, stdout: '', stderr: `usage: ${RUN} [--servers postgres,redis] COMMAND...\n` })
  })

  test('prints why there is no engine, with an exit code of its own, where packages are unavailable', () => {
    expect(run(['true'], pathWith('dirname', 'ls', 'paste'))).toEqual({
      code: UNAVAILABLE,
      stdout: '',
      stderr: 'no engine: this is no Debian: there is no apt-get\n',
    })
  })

  test('withdraws the permission for packages to start servers at once, also when it is interrupted', () => {
    const text = readFileSync(RUN, 'utf8')
    expect(text.match(/policy-rc\.d/g)).toHaveLength(1)
    expect(text.slice(text.indexOf('cleanup() {'), text.indexOf('trap cleanup EXIT'))).toContain('rm -f "$policy"')
    expect(text.indexOf('made_policy=1')).toBeLessThan(text.indexOf('>"$policy"'))
  })

  test('makes an image of every server that the tests have one of', () => {
    for (const [kind, { name }] of Object.entries(images)) {
      expect(readFileSync(`scripts/engine/images/${kind}/Dockerfile`, 'utf8')).toContain('FROM local/debian')
      expect(readFileSync('compose.yaml', 'utf8')).toContain(`    image: ${name}\n`)
    }
  })
})
