/** Processes of tests that come so far and no further, and are killed there. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import { until } from '../../support/until.ts'

/**
 * Starts a program of this folder, and waits until it prints where it stops.
 * @param given its argument, as JSON
 */
export async function startUntil(at: string, program: string, given: object): Promise<ChildProcess> {
  const path = fileURLToPath(new URL(program, import.meta.url))
  const child = spawn(process.execPath, ['--conditions=concordat-source', path, JSON.stringify(given)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let said = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  await until(`it is ${at}`, () => said.includes(at) || child.exitCode !== null)
  expect(said).toContain(at)
  return child
}

/** Kills it with SIGKILL, and waits for its end. */
export async function die(child: ChildProcess): Promise<void> {
  const gone = once(child, 'exit')
  child.kill('SIGKILL')
  await gone
}
