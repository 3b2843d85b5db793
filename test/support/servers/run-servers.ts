/** `npm run servers` as a child process, for the tests of this folder. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished } from 'vitest'

export interface ServersRun {
  /** The first lines of its standard output, as soon as it has this many. */
  lines(count: number): Promise<readonly string[]>
  stderrHas(text: string): Promise<void>
  stderr(): string
  kill(signal: NodeJS.Signals): void
  readonly exit: Promise<{ readonly code: number | null; readonly stdout: string }>
  /** The folders of existing servers. */
  foldersLeft(): readonly string[]
}

const DEADLINE = { timeout: 60_000 }

export function runServers(names: readonly string[], env: Readonly<Record<string, string>> = {}): ServersRun {
  const temporary = mkdtempSync(join(tmpdir(), 'concordat-test-'))
  chmodSync(temporary, 0o755)
  const main = fileURLToPath(new URL('./main.ts', import.meta.url))
  const child = spawn(process.execPath, ['--conditions=concordat-source', main, ...names], {
    env: { ...process.env, ...env, TMPDIR: temporary },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const exit = once(child, 'close').then(() => ({ code: child.exitCode, stdout }))
  onTestFinished(async () => {
    child.kill('SIGTERM')
    await exit
    rmSync(temporary, { recursive: true, maxRetries: 3 })
  })
  return {
    lines: async (count) => {
      await expect.poll(() => stdout.split('\n').length, { ...DEADLINE, message: stderr }).toBeGreaterThan(count)
      return stdout.split('\n').slice(0, count)
    },
    stderrHas: (text) => expect.poll(() => stderr, DEADLINE).toContain(text),
    stderr: () => stderr,
    kill: (signal) => void child.kill(signal),
    exit,
    foldersLeft: () => readdirSync(temporary),
  }
}
