import { spawnSync } from 'node:child_process'
import { expect, it } from 'vitest'

it.for([
  [['--seeds', 'x'], '--seeds: expected a whole number >= 1, got "x"\n'],
  [['--sedes', '5'], /^Unknown option '--sedes'.* See npm run sim -- --help\n$/s],
  [['--workload', 'nope'], /^--workload nope: one of transfers, outbox, /],
  [['--replay', 'kill'], '--replay and --calm are of one history: name its --workload and its --seed\n'],
  [
    ['--workload', 'crowd', '--seed', '1', '--replay', 'kil'],
    /^--replay: expected one of kill, kill-after, .*, got ""\n$/,
  ],
] as const)('npm run sim refuses %s by name, with 2', ([args, says]) => {
  const { status, stderr } = spawnSync(
    process.execPath,
    ['--disable-warning=TimeoutNegativeWarning', '--conditions=concordat-source', 'test/sim/main.ts', ...args],
    { encoding: 'utf8' },
  )
  expect(stderr).toEqual(typeof says === 'string' ? says : expect.stringMatching(says))
  expect(status).toBe(2)
})
