import { readdirSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { describeWith } from '../support/servers/index.ts'
import { atNight } from '../support/suite/night.ts'
import { faultsCommand, type Played, UNTIL_SHOWN } from './played.ts'

describeWith(['postgres', 'rabbitmq'], 'npm run faults -- saga', { private: true }, () => {
  const faults = faultsCommand()
  const run = (...args: readonly string[]): Promise<Played> => faults.play('saga', ...args)

  // played.release.test.ts plays it on Kafka.
  it.for([
    ['rabbitmq', ['kill-any', 'repeats']],
    ...atNight(['rabbitmq', ['stop-coordinator']], ['postgres', ['kill-any', 'broker-kill', 'stop-coordinator']]),
  ] as const)(
    'passes on %s while processes die and stop and messages are repeated, and leaves nothing behind',
    async ([broker, played]) => {
      const { code, output } = await run(
        '--seed',
        '1',
        '--seconds',
        '0',
        '--transport',
        broker,
        '--only',
        played.join(','),
      )
      expect(code, output).toBe(0)
      expect(output).toContain(`saga on ${broker}, seed 1`)
      for (const fault of played) expect(output).toMatch(new RegExp(`^${fault} +1 .* all hold`, 'm'))
      expect(output).toContain('seed 1: every invariant held, every fault happened')
      expect(readdirSync(faults.folder)).toEqual([])
    },
  )

  // In merge runs, saga/judge.test.ts tests the judge by itself.
  it.for(atNight(['no-dedupe', 'repeats']))(
    'fails with the mistake %s: violated is "each effect once", under %s',
    UNTIL_SHOWN,
    async ([mistake, fault]) => {
      const args = ['--seed', '2', '--transport', 'rabbitmq', '--broken', mistake]
      const { code, output } = await run(...args)
      expect(code, output).toBe(1)
      expect(output).toMatch(
        new RegExp(`^violated: each effect once \\(.*\\)\\nunder the fault: ${fault}\\n {2}\\S`, 'm'),
      )
      expect(output).toMatch(/(invoke|compensate) of transfer\/\S+ 2 times: by /)
      expect(output).toContain(`replay: npm run faults -- saga ${args.join(' ')}`)
      const history = /^history: (.*)$/m.exec(output)?.[1] ?? ''
      expect(readFileSync(history, 'utf8')).toContain('"op":"fault"')
    },
  )
})
