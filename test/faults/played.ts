/** Runs of `npm run faults` in a folder of their own, for tests of the command. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach } from 'vitest'

const main = fileURLToPath(new URL('./main.ts', import.meta.url))
/** A run with a mistake plays its faults again until it shows, for up to 150 s. */
export const UNTIL_SHOWN = { timeout: 400_000 }

export interface Played {
  readonly code: number | null
  readonly output: string
}

export interface Faults {
  /** Folder of the run's files. */
  readonly folder: string
  /** @param args of `npm run faults -- ` */
  play(...args: readonly string[]): Promise<Played>
}

/** Provides the command for the tests of a `describe`: each has a folder of its own. */
export function faultsCommand(): Faults {
  let folder = ''
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'concordat-test-'))
    chmodSync(folder, 0o755)
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }))
  return {
    get folder() {
      return folder
    },
    async play(...args) {
      const child = spawn(process.execPath, ['--conditions=concordat-source', main, ...args], {
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
    },
  }
}
