import { spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'

function bench(...args: readonly string[]): { readonly status: number | null; readonly lines: readonly string[] } {
  const command = ['--conditions=concordat-source', 'bench/main.ts', ...args]
  const { status, stdout, stderr } = spawnSync(process.execPath, command, { encoding: 'utf8' })
  expect(stdout).toBe('')
  return { status, lines: stderr.trim().split('\n') }
}

describe('npm run bench', () => {
  it.for([
    [[], 'bench: name a suite. Usage: npm run bench -- '],
    [['nothing'], 'bench: there is no suite "nothing". Usage: npm run bench -- '],
    [['toString'], 'bench: there is no suite "toString". Usage: '],
    [['binder', 'example'], 'bench: one suite at a time, not also "example". Usage: '],
    [['binder', '--rounds', '0'], 'bench: --rounds: expected a whole number >= 1, got "0". Usage: '],
    [['binder', '--fast'], "bench: Unknown option '--fast'"],
  ] as const)('with %j says what is wrong on one line and ends with 2', ([args, message]) => {
    const { status, lines } = bench(...args)
    expect(lines).toHaveLength(1)
    expect(lines[0]).toContain(message)
    expect(status).toBe(2)
  })
})
