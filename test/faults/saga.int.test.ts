import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { describeWith } from '../support/servers/index.ts'

const main = fileURLToPath(new URL('./main.ts', import.meta.url))
/** A run with a mistake plays its faults again until it shows, for up to 150 s. */
const UNTIL_SHOWN = { timeout: 400_000 }

describeWith(['postgres', 'rabbitmq', 'kafka'], 'npm run faults -- saga', { private: true }, () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'concordat-test-'))
    chmodSync(folder, 0o755)
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }))

  async function run(...args: readonly string[]): Promise<{ readonly code: number | null; readonly output: string }> {
    const child = spawn(process.execPath, ['--conditions=concordat-source', main, 'saga', ...args], {
      env: { ...process.env, TMPDIR: folder },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
    }
    await once(child, 'close')
    return { code: child.exitCode, output }
  }

  it.for([
    ['rabbitmq', ['kill-any', 'stop-coordinator', 'repeats']],
    ['kafka', ['kill-participants', 'repeats']],
    ['postgres', ['kill-any', 'broker-kill', 'stop-coordinator']],
  ] as const)(
    'passes on %s while processes die and stop and messages are repeated, and leaves nothing behind',
    async ([broker, faults]) => {
      const { code, output } = await run(
        '--seed',
        '1',
        '--seconds',
        '0',
        '--transport',
        broker,
        '--only',
        faults.join(','),
      )
      expect(code, output).toBe(0)
      expect(output).toContain(`saga on ${broker}, seed 1`)
      for (const fault of faults) expect(output).toMatch(new RegExp(`^${fault} +1 .* all hold`, 'm'))
      expect(output).toContain('seed 1: every invariant held, every fault happened')
      expect(readdirSync(folder)).toEqual([])
    },
  )

  it.for([
    ['no-epoch', 'stop-coordinator'],
    ['no-dedupe', 'repeats'],
  ] as const)(
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
