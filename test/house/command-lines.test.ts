import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { describe, it } from 'vitest'

const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as {
  readonly scripts: Readonly<Record<string, string>>
}
/** The commands of this repository that take arguments: node, its options, a file. */
const COMMANDS = ['bench', 'faults', 'fuzz', 'interop', 'proof', 'sim']

function run(name: string, ...args: readonly string[]) {
  const words = (scripts[name] ?? '').replace(/^exec /, '').split(' ')
  return spawnSync(process.execPath, [...words.slice(1), ...args], { encoding: 'utf8' })
}

describe.for(COMMANDS)('npm run %s', (name) => {
  it('prints its usage', ({ expect }) => {
    const { status, stdout, stderr } = run(name, '--help')
    expect([status, stderr]).toEqual([0, ''])
    expect(stdout).toContain(`npm run ${name}`)
  })

  it('does nothing for unknown words, and prints its usage', ({ expect }) => {
    const { status, stdout, stderr } = run(name, 'no-such-thing', '--no-such-option')
    expect([status, stdout]).toEqual([2, ''])
    expect(stderr).toMatch(/Usage: |npm run|--help/)
  })
})
