import { readdirSync } from 'node:fs'
import { expect, it } from 'vitest'
import { describeWith } from '../support/servers/index.ts'
import { faultsCommand, type Played, UNTIL_SHOWN } from './played.ts'

describeWith(['postgres', 'mariadb'], 'npm run faults -- transactions', { private: true }, () => {
  const faults = faultsCommand()
  const run = (...args: readonly string[]): Promise<Played> => faults.play('transactions', ...args)

  it(
    'passes with all kinds at once while processes die at any step and servers are stopped, and leaves nothing behind',
    UNTIL_SHOWN,
    async () => {
      const played = ['orphan-prepared', 'kill-at-decision', 'restart-immediate']
      const { code, output } = await run('--seed', '1', '--seconds', '0', '--only', played.join(','))
      expect(code, output).toBe(0)
      for (const fault of played) expect(output).toMatch(new RegExp(`^${fault} +1 .* all hold`, 'm'))
      expect(output).toContain('seed 1: every invariant held, every fault happened')
      expect(readdirSync(faults.folder)).toEqual([])
    },
  )

  it.for([['no-fence', 'tcc', 'repeats', 'no effect twice']] as const)(
    'fails with the mistake %s in transactions of the kind %s: under %s, violated is "%s"',
    UNTIL_SHOWN,
    async ([mistake, kind, fault, invariant]) => {
      const args = ['--kind', kind, '--seed', '2', '--broken', mistake]
      const { code, output } = await run(...args)
      expect(code, output).toBe(1)
      expect(output).toMatch(new RegExp(`^violated: ${invariant} \\(.*\\)\\nunder the fault: ${fault}\\n {2}\\S`, 'm'))
      expect(output).toContain(`replay: npm run faults -- transactions ${args.join(' ')}`)
    },
  )
})
