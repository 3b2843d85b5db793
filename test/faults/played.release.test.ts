/** Runs of faults on Kafka that have to pass: at night and before a release. */
import { readdirSync } from 'node:fs'
import { expect, it } from 'vitest'
import { describeWith } from '../support/servers/index.ts'
import { faultsCommand, UNTIL_SHOWN } from './played.ts'

describeWith(['postgres', 'kafka'], 'npm run faults on Kafka', { private: true }, () => {
  const faults = faultsCommand()

  it.for([
    ['binder', ['consumer-kill', 'cut']],
    ['saga', ['kill-participants', 'repeats']],
    ['power', ['power-loss', 'power-loss-again']],
  ] as const)('-- %s passes, and leaves nothing behind', UNTIL_SHOWN, async ([suite, played]) => {
    const shown = ['--seed', '1', '--seconds', '0', '--transport', 'kafka', '--only', played.join(',')]
    const { code, output } = await faults.play(suite, ...shown)
    expect(code, output).toBe(0)
    for (const fault of played) expect(output).toMatch(new RegExp(`^${fault} +1 .* all hold`, 'm'))
    expect(output).toContain('seed 1: every invariant held, every fault happened')
    expect(readdirSync(faults.folder)).toEqual([])
  })
})
