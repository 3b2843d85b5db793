import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { describeWith, type PrivateServer, startServer } from '../support/servers/index.ts'
import { atNight } from '../support/suite/night.ts'
import { until } from '../support/until.ts'

const main = fileURLToPath(new URL('./main.ts', import.meta.url))
/** A run with a mistake plays its faults again until it shows, for up to 150 s. */
const UNTIL_SHOWN = { timeout: 400_000 }

interface Run {
  readonly child: ChildProcess
  readonly output: () => string
  readonly end: Promise<number | null>
}

describeWith(['redis', 'postgres'], 'npm run faults', { private: true }, () => {
  let postgres: PrivateServer
  let folder: string
  beforeAll(async () => {
    postgres = await startServer('postgres', { settings: { fsync: 'off' } })
  })
  afterAll(() => postgres.stop())
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'concordat-test-'))
    chmodSync(folder, 0o755)
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }))

  function run(...args: readonly string[]): Run {
    return runAt(postgres.url, args)
  }

  function runAt(postgresUrl: string, args: readonly string[]): Run {
    const child = spawn(process.execPath, ['--conditions=concordat-source', main, ...args], {
      env: { ...process.env, POSTGRES_URL: postgresUrl, TMPDIR: folder },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
    }
    return { child, output: () => output, end: once(child, 'close').then(() => child.exitCode) }
  }

  describe('passes', () => {
    it.for([
      ['locks', 'stop-holder,partition-replies'],
      ['election', 'stop-leader,redis-frozen'],
      ...atNight(
        ['locks', 'stop-holder,kill-waiter,partition-replies,failover,readers-writers-kill'],
        ['election', 'kill-leader,stop-leader,redis-frozen'],
        ['locks --store postgres', 'stop-holder,stop-in-transaction,kill-waiter,stop-waiter,postgres-killed'],
        ['election --store postgres', 'kill-leader,stop-leader,postgres-immediate'],
      ),
    ] as const)('%s, under some of the faults, and leaves nothing behind', async ([suite, only]) => {
      const { output, end } = run(...suite.split(' '), '--seed', '1', '--seconds', '0', '--only', only)
      expect(await end, output()).toBe(0)
      for (const fault of only.split(',')) expect(output()).toMatch(new RegExp(`^${fault} +1 .* hold`, 'm'))
      expect(output()).toContain('seed 1: every invariant held, every fault happened')
      expect(output()).toContain('What no lease survives without a fence')
      expect(readdirSync(folder)).toEqual([])
    })
  })

  it('reports on one line that a server cannot be reached, and ends with 2', async () => {
    const { output, end } = runAt('postgres://127.0.0.1:1/nowhere', ['locks', '--seed', '1', '--only', 'none'])
    expect(await end, output()).toBe(2)
    expect(output().trim().split('\n')).toEqual([expect.stringContaining('faults: a server cannot be reached')])
    expect(readdirSync(folder)).toEqual([])
  })

  describe('fails, with the invariant, the evidence and the history', () => {
    it.for([
      ['locks', 'late-deadline', 'one believes'],
      ['election --store postgres', 'no-fence', 'accepted in order'],
      ...atNight(
        ['election', 'late-revoke', 'one leads'],
        ['locks --store postgres', 'guard-before', 'accepted in order'],
      ),
    ] as const)('%s with the mistake %s: violated is "%s"', UNTIL_SHOWN, async ([suite, mistake, invariant]) => {
      const { output, end } = run(...suite.split(' '), '--seed', '2', '--broken', mistake)
      expect(await end, output()).toBe(1)
      expect(output()).toMatch(new RegExp(`^violated: ${invariant} \\(.*\\)\\nunder the fault: .*\\n {2}\\S`, 'm'))
      expect(output()).toContain(`replay: npm run faults -- ${suite} --seed 2 --broken ${mistake}`)
      const history = /^history: (.*)$/m.exec(output())?.[1] ?? ''
      const lines = readFileSync(history, 'utf8').trim().split('\n')
      expect(lines.map((line) => JSON.parse(line) as { op: string })).toContainEqual(
        expect.objectContaining({ op: 'acquire' }),
      )
    })
  })

  describe.skipIf(process.platform !== 'linux')('ends everything it started', () => {
    /** Processes below the run, servers and stopped workers included. */
    const family = (root: number): number[] => {
      const pids = readdirSync('/proc')
        .filter((name) => /^\d+$/.test(name))
        .map(Number)
      return pids.filter((pid) => parentOf(pid) === root)
    }
    const isThere = (pid: number): boolean => parentOf(pid) !== undefined

    it.for([['SIGTERM', 143], ['SIGKILL', null], ...atNight(['SIGINT', 130])] as const)(
      'after %s',
      async ([signal, code]) => {
        const { child, output, end } = run('locks', '--seed', '1', '--only', 'stop-holder')
        const pid = child.pid as number
        await until('a worker is stopped', () => family(pid).some((each) => stateOf(each) === 'T'))
        const started = family(pid)
        child.kill(signal)
        expect(await end, output()).toBe(code)
        await until('all are gone', () => !started.some(isThere))
        if (signal !== 'SIGKILL') await until('its folders are gone', () => readdirSync(folder).length === 0)
      },
    )
  })
})

function fieldsOf(pid: number): readonly string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  } catch {
    return undefined
  }
}

function parentOf(pid: number): number | undefined {
  const [state, parent] = fieldsOf(pid) ?? ['Z']
  return state === 'Z' ? undefined : Number(parent)
}

function stateOf(pid: number): string | undefined {
  return fieldsOf(pid)?.[0]
}
