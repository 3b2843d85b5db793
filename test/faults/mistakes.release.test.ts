/** Mistakes that a run of faults has to find, beside those that other tests play: at night and before a release. */
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { describeWith } from '../support/servers/index.ts'
import { faultsCommand, UNTIL_SHOWN } from './played.ts'

interface Mistake {
  readonly run: string
  readonly mistake: string
  readonly invariant: string
  /** Under which it shows; absent: under any. */
  readonly fault?: string
}

const MISTAKES: readonly Mistake[] = [
  { run: 'locks --seed 2', mistake: 'release-without-check', invariant: 'one believes' },
  { run: 'locks --seed 2', mistake: 'no-fence', invariant: 'accepted in order' },
  { run: 'locks --store postgres --seed 2', mistake: 'release-without-check', invariant: 'linearizable' },
  { run: 'locks --store postgres --seed 2', mistake: 'late-deadline', invariant: 'one believes' },
  { run: 'locks --store postgres --seed 2', mistake: 'no-fence', invariant: 'accepted in order' },
  { run: 'election --seed 2', mistake: 'no-fence', invariant: 'accepted in order' },
  { run: 'election --store postgres --seed 2', mistake: 'late-revoke', invariant: 'one leads' },
  { run: 'binder --seed 1 --transport postgres', mistake: 'trusts-last', invariant: 'nothing is lost' },
  { run: 'binder --seed 1 --transport postgres', mistake: 'takes-held', invariant: 'one at a time' },
  { run: 'binder --seed 1 --transport postgres', mistake: 'splits-assign', invariant: 'nothing is lost' },
  { run: 'binder --seed 1 --transport postgres', mistake: 'acks-unfenced', invariant: 'places go forward' },
  { run: 'binder --seed 1 --transport postgres', mistake: 'settles-apart', invariant: 'once with its place' },
  {
    run: 'saga --seed 2 --transport rabbitmq',
    mistake: 'no-epoch',
    invariant: 'each effect once',
    fault: 'stop-coordinator',
  },
  {
    run: 'transactions --kind code --seed 2',
    mistake: 'decision-after-phase-two',
    invariant: 'each transfer ends once',
    fault: 'kill-at-decision',
  },
  { run: 'power --seed 1 --transport kafka', mistake: 'unsynced', invariant: 'nothing is lost' },
  { run: 'cluster --seed 1 --transport redis', mistake: 'no-fence', invariant: 'no stale write' },
  { run: 'cluster --seed 1 --transport rabbitmq', mistake: 'confirms-first', invariant: 'nothing is lost' },
  { run: 'cluster --seed 1 --transport rabbitmq', mistake: 'settles-first', invariant: 'nothing is lost' },
]

describeWith(['redis', 'postgres', 'rabbitmq', 'kafka', 'mariadb'], 'npm run faults', { private: true }, () => {
  const faults = faultsCommand()

  it.for(MISTAKES)(
    '-- $run --broken $mistake: violated is "$invariant"',
    { timeout: 2.5 * UNTIL_SHOWN.timeout },
    async ({ run, mistake, invariant, fault = '.*' }) => {
      const { code, output } = await faults.play(...run.split(' '), '--broken', mistake)
      expect(code, output).toBe(1)
      expect(output).toMatch(new RegExp(`^violated: ${invariant} \\(.*\\)\\nunder the fault: ${fault}\\n {2}\\S`, 'm'))
      expect(output).toMatch(new RegExp(`^replay: npm run faults -- ${run.split(' ')[0]} .*--broken ${mistake}`, 'm'))
      const history = /^history: (.*)$/m.exec(output)?.[1] ?? ''
      expect(readFileSync(history, 'utf8')).not.toBe('')
    },
  )
})
