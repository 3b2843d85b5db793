import { spawn } from 'node:child_process'
import { once } from 'node:events'

/** Longest start of a process that does nothing on the machines that the limits of tests were chosen on. */
const START_MS = 100
const TRIES = 3

/** How many times longer this machine takes now to start a process; at least 1. A shared machine can be ten times slower for minutes. */
export async function slowness(): Promise<number> {
  const times: number[] = []
  while (times.length < TRIES) {
    const begun = performance.now()
    await once(spawn(process.execPath, ['-e', '0'], { stdio: 'ignore', env: {} }), 'exit')
    times.push(performance.now() - begun)
  }
  return Math.max(1, Math.min(...times) / START_MS)
}
