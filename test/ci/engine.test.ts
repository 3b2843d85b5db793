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

describe('.ci/run', () => {
  test('lists the container tests as left out where there is no engine or no time, and counts them where they ran', () => {
    const [, step = ''] = readFileSync('.ci/run', 'utf8').match(/\n(containers\(\) \{\n[^]*?\n\})\n/) ?? []
    const outcome = (code: number, hasBegun: boolean, seconds = 0) => {
      const reports = mkdtempSync(join(tmpdir(), 'concordat-test-'))
      onTestFinished(() => rmSync(reports, { recursive: true }))
      const stubbed = `set -euo pipefail; reports=${reports}; SECONDS=${seconds}
        timeout() { ${hasBegun ? 'mkdir "$reports/containers"; touch "$reports/containers/began"; ' : ''}return ${code}; }
        ${step}
        if containers; then echo passed; else echo failed; fi`
      const { stdout, stderr } = spawnSync('/bin/bash', ['-c', stubbed], { encoding: 'utf8' })
      return stdout
        .trimEnd()
        .split('\n')
        .concat(stderr === '' ? [] : stderr)
    }
    expect(outcome(0, true)).toEqual(['passed'])
    expect(outcome(1, true)).toEqual(['failed'])
    expect(outcome(124, true)).toEqual(['failed'])
    expect(outcome(75, false)).toEqual([expect.stringContaining('left out'), 'passed'])
    expect(outcome(124, false)).toEqual([expect.stringContaining('left out'), 'passed'])
    const late = 'left out, since the steps before took until minute 11: the tests in containers'
    expect(outcome(0, true, 660)).toEqual([late, 'passed'])
    expect(outcome(1, false)).toEqual([expect.stringContaining('exit code 1'), 'failed'])
  })
})
