import { spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { parseCommand } from './command-line.ts'

function faults(...args: readonly string[]): { readonly status: number | null; readonly lines: readonly string[] } {
  const command = ['--conditions=concordat-source', 'test/faults/main.ts', ...args]
  const { status, stdout, stderr } = spawnSync(process.execPath, command, { encoding: 'utf8' })
  expect(stdout).toBe('')
  return { status, lines: stderr.trim().split('\n') }
}

describe('npm run faults', () => {
  it.for([
    [[], 'faults: name a suite. Usage: npm run faults -- locks|election|saga'],
    [['nothing'], 'faults: there is no suite "nothing". Usage: '],
    [['toString'], 'faults: there is no suite "toString". Usage: '],
    [['locks', 'election', '--seed', '1'], 'faults: one suite at a time, not also "election". Usage: '],
    [['locks'], 'faults: --seed is missing: a whole number, or a range such as 1..5. Usage: '],
    [
      ['locks', '--seed', '1.5'],
      'faults: --seed: expected a whole number, or a range such as 1..5, got "1.5". Usage: ',
    ],
    [['locks', '--seed', ''], 'faults: --seed: expected a whole number, or a range such as 1..5, got "". Usage: '],
    [
      ['locks', '--seed', '5..1'],
      'faults: --seed: expected a whole number, or a range such as 1..5, got "5..1". Usage: ',
    ],
    [['locks', '--seed', '1', '--seconds', 'x'], 'faults: --seconds: expected a whole number, got "x". Usage: '],
    [
      ['locks', '--seed', '1', '--only', 'rain'],
      'faults: --only: there is no fault "rain", choose from none, kill-holder',
    ],
    [
      ['locks', '--seed', '1', '--broken', 'late-revoke'],
      'faults: --broken: there is no "late-revoke", choose from release',
    ],
    [
      ['election', '--seed', '1', '--broken', 'x'],
      'faults: --broken: there is no "x", choose from late-revoke, no-fence',
    ],
    [['locks', '--seed', '1', '--transport', 'kafka'], 'faults: --transport: "locks" has no broker to choose. Usage: '],
    [
      ['saga', '--seed', '1', '--transport', 'pigeon'],
      'faults: --transport: there is no "pigeon", choose from rabbitmq, kafka, postgres. Usage: ',
    ],
    [['locks', '--seed', '1', '--kind', 'xa'], 'faults: --kind: "locks" has no kind to choose. Usage: '],
    [
      ['transactions', '--seed', '1', '--kind', 'at'],
      'faults: --kind: there is no "at", choose from mixed, tcc, xa, code, undo. Usage: ',
    ],
    [
      ['transactions', '--seed', '1', '--kind', 'xa', '--only', 'repeats', '--broken', 'no-fence'],
      'faults: --broken: there is no "no-fence", choose from ',
    ],
    [['locks', '--seed', '1', '--fast'], "faults: Unknown option '--fast'"],
  ] as const)('with %j reports the mistake on one line and ends with 2', ([args, message]) => {
    const { status, lines } = faults(...args)
    expect(lines).toHaveLength(1)
    expect(lines[0]).toContain(message)
    expect(status).toBe(2)
  })

  it('with --help names suites, options, faults, mistakes and brokers', () => {
    const command = ['--conditions=concordat-source', 'test/faults/main.ts', '--help']
    const { status, stdout } = spawnSync(process.execPath, command, { encoding: 'utf8' })
    expect(stdout).toMatch(/^Usage: npm run faults -- locks\|election\|saga/)
    expect(stdout).toMatch(
      /\nsaga\n {2}faults: none, .*\n {2}mistakes: no-epoch, .*\n {2}transports: rabbitmq, kafka, postgres\n/,
    )
    for (const option of ['seed', 'seconds', 'only', 'broken', 'transport', 'keep'])
      expect(stdout).toContain(`--${option} `)
    expect(stdout).toContain(
      'KAFKA_DRIVER=NAME in the environment: the client library on Kafka, kafkajs, platformatic (kafkajs)',
    )
    expect(status).toBe(0)
  })

  it('refuses an unknown client library for Kafka', () => {
    const command = ['--conditions=concordat-source', 'test/faults/main.ts', 'saga', '--seed', '1']
    const env = { ...process.env, KAFKA_DRIVER: 'librdkafka' }
    const { status, stderr } = spawnSync(process.execPath, command, { encoding: 'utf8', env })
    expect(stderr.trim()).toContain(
      'faults: KAFKA_DRIVER: there is no "librdkafka", choose from kafkajs, platformatic. Usage: ',
    )
    expect(status).toBe(2)
  })

  it('lets the seeds of a suite with several brokers take turns, unless one is named', async () => {
    const suites = { saga: async () => (await import('./saga/suite.ts')).sagaSuite }
    const brokers = async (...more: string[]): Promise<unknown> => {
      const given = await parseCommand(['saga', '--seed', '1..4', ...more], suites)
      return typeof given === 'string' ? given : given.seeds.flatMap((seed) => given.transports(seed))
    }
    expect(await brokers()).toEqual(['rabbitmq', 'kafka', 'postgres', 'rabbitmq'])
    expect(await brokers('--transport', 'kafka')).toEqual(['kafka', 'kafka', 'kafka', 'kafka'])
  })

  it('plays each seed of clusters on one broker after the other, where the faults can be played', async () => {
    const suites = { cluster: async () => (await import('./cluster/suite.ts')).clusterSuite }
    const runs = async (...more: string[]): Promise<unknown> => {
      const given = await parseCommand(['cluster', '--seed', '1..2', ...more], suites)
      if (typeof given === 'string') return given
      return given.seeds.map((seed) => given.transports(seed).map((each) => given.command(seed, each)))
    }
    const command = (seed: number, more: string): string => `npm run faults -- cluster --seed ${seed} ${more}`
    const all = ['redis', 'rabbitmq', 'kafka'].map((each) => `--transport ${each}`)
    expect(await runs()).toEqual([1, 2].map((seed) => all.map((each) => command(seed, each))))
    expect(await runs('--only', 'failover')).toEqual(
      [1, 2].map((seed) => [command(seed, '--only failover --transport redis')]),
    )
    expect(await runs('--transport', 'kafka')).toEqual([1, 2].map((seed) => [command(seed, '--transport kafka')]))
    expect(await runs('--transport', 'kafka', '--broken', 'no-fence')).toBe(
      '--broken: "no-fence" cannot be built in on kafka, only on redis',
    )
  })
})
