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
    [['binder', 'exampel'], 'bench: there is no suite "exampel". Usage: npm run bench -- '],
    [['saga', 'outbox', '--only', 'relay'], 'bench: --only: parts belong to one suite, so name one. Usage: '],
    [['binder', '--rounds', '0'], 'bench: --rounds: expected a whole number >= 1, got "0". Usage: '],
    [
      ['binder', '--only', 'memroy'],
      'bench: --only: there is no part "memroy", only memory, kafka, rabbitmq, platformatic, both, drivers, wire. ',
    ],
    [
      ['example', '--only', 'kafka,x'],
      'bench: --only: there is no part "x", only embedded, rabbitmq, postgres, kafka, steps, dbos, dbos-services, counts. Usage: ',
    ],
    [['outbox', '--only', 'nope'], 'bench: --only: there is no part "nope", only relay, add, inbox, growth, idle. '],
    [
      ['postgres', '--only', 'speed'],
      'bench: --only: there is no part "speed", only rates, groups, latency, snapshot, chaos, pglite, disk. Usage: ',
    ],
    [['saga', '--only', 'fast'], 'bench: --only: there is no part "fast", only speed, participants, parked. Usage: '],
    [['locks', '--only', 'toString'], 'bench: --only: there is no part "toString", only pairs, handoff, crowd, '],
    [
      ['election', '--only', 'failovers'],
      'bench: --only: there is no part "failovers", only failover, watch, members.',
    ],
    [
      ['transactions', '--only', 'fast'],
      'bench: --only: there is no part "fast", only bare, saga, tcc, xa, undo, code, seata, direct, message. ',
    ],
    [['soak', '--minutes', 'long'], 'bench: --minutes: expected a number > 0 and <= 10000, got "long". Usage: '],
    [['binder', '--fast'], "bench: Unknown option '--fast'"],
    [['all', '--only', 'kafka'], 'bench: --only: parts belong to one suite, so name one. Usage: '],
    [['compare'], 'bench: compare: expected the file of a report, and another one'],
    [['compare', 'nowhere.json'], 'cannot be read: make it with npm run bench -- all --report FILE'],
    [['tables', 'package.json'], 'bench: package.json is no report of a bench: it has no suites'],
  ] as const)('with %j reports the mistake on one line and ends with 2', ([args, message]) => {
    const { status, lines } = bench(...args)
    expect(lines).toHaveLength(1)
    expect(lines[0]).toContain(message)
    expect(status).toBe(2)
  })
})
