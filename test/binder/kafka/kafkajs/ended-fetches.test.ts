import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const script = fileURLToPath(new URL('ends-as-brokers-change.ts', import.meta.url))

test('a subscription that ends while the brokers change leaves the process to others', {
  timeout: 60_000,
}, async () => {
  // Runs in a process of its own: a test could not end a loop that never yields.
  const options = { timeout: 30_000, killSignal: 'SIGKILL' } as const
  const run = promisify(execFile)(process.execPath, ['--conditions=concordat-source', script], options)
  await expect(run).resolves.toMatchObject({ stdout: 'ended\n' })
})
