import { readdirSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { describeWith } from '../support/servers/index.ts'
import { atNight } from '../support/suite/night.ts'
import { faultsCommand, type Played, UNTIL_SHOWN } from './played.ts'

describeWith(['rabbitmq', 'postgres'], 'npm run faults -- binder', { private: true }, () => {
  const faults = faultsCommand()
  const run = (...args: readonly string[]): Promise<Played> => faults.play('binder', ...args)

  // played.release.test.ts plays it on Kafka.
  it.for(['rabbitmq', ...atNight('postgres')])(
    'passes on %s while consumers die and connections break, and leaves nothing behind',
    UNTIL_SHOWN,
    async (broker) => {
      const played = ['consumer-kill', 'cut']
      const shown = ['--seed', '1', '--seconds', '0', '--transport', broker, '--only', played.join(',')]
      const { code, output } = await run(...shown)
      expect(code, output).toBe(0)
      for (const fault of played) expect(output).toMatch(new RegExp(`^${fault} +1 .* all hold`, 'm'))
      expect(output).toContain('seed 1: every invariant held, every fault happened')
      expect(readdirSync(faults.folder)).toEqual([])
    },
  )

  // In merge runs, binder/judge.test.ts tests the judge by itself.
  it.for(atNight('settles-first'))(
    'fails with the mistake %s, which settles before the handler: violated is "nothing is lost"',
    UNTIL_SHOWN,
    async (mistake) => {
      const { code, output } = await run('--seed', '2', '--broken', mistake, '--transport', 'rabbitmq')
      expect(code, output).toBe(1)
      expect(output).toMatch(/^violated: nothing is lost \(.*\)\nunder the fault: consumer-kill\n {2}\S/m)
      expect(output).toMatch(/was accepted, and it was never handled to the end/)
      expect(output).toContain(`replay: npm run faults -- binder --seed 2 --broken ${mistake} --transport rabbitmq`)
      const history = /^history: (.*)$/m.exec(output)?.[1] ?? ''
      expect(readFileSync(history, 'utf8')).toContain('"op":"lingers"')
    },
  )
})
