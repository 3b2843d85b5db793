import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { describeWith } from '../support/servers/index.ts'

const main = fileURLToPath(new URL('./main.ts', import.meta.url))
/** A run with a mistake plays its faults again until it shows, for up to 150 s. */
const UNTIL_SHOWN = { timeout: 400_000 }

describeWith(['postgres', 'mariadb'], 'npm run faults -- transactions', { private: true }, () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'concordat-test-'))
    chmodSync(folder, 0o755)
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }))

  async function run(...args: readonly string[]): Promise<{ readonly code: number | null; readonly output: string }> {
    const child = spawn(process.execPath, ['--conditions=concordat-source', main, 'transactions', ...args], {
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

  it(
    'passes with all kinds at once while processes die at any step and servers are stopped, and leaves nothing behind',
    UNTIL_SHOWN,
    async () => {
      const faults = ['orphan-prepared', 'kill-at-decision', 'restart-immediate']
      const { code, output } = await run('--seed', '1', '--seconds', '0', '--only', faults.join(','))
      expect(code, output).toBe(0)
      for (const fault of faults) expect(output).toMatch(new RegExp(`^${fault} +1 .* all hold`, 'm'))
      expect(output).toContain('seed 1: every invariant held, every fault happened')
      expect(readdirSync(folder)).toEqual([])
    },
  )

  it.for([
    ['no-fence', 'tcc', 'repeats', 'no effect twice'],
    ['decision-after-phase-two', 'code', 'kill-at-decision', 'each transfer ends once'],
  ] as const)(
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
