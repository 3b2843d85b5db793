/** Small runs of `npm run proof`, each of some minutes, and the mistakes that it has to find: before a release. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { describeWith } from '../support/servers/index.ts'
import { TRANSPORTS } from './place.ts'
import type { Report } from './report/report.ts'

const main = fileURLToPath(new URL('./main.ts', import.meta.url))
const MINUTES = { timeout: 900_000 }
/** A run with a kill of RabbitMQ, of the stock and of a clerk, and a frozen coordinator. */
const SHORT = ['--messages', '1800', '--faults', '4', '--seed', '1']

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'concordat-test-'))
  chmodSync(folder, 0o755)
})
afterEach(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 }))

const dir = (): string => join(folder, 'run')
const reported = (): Report => JSON.parse(readFileSync(join(folder, 'report.json'), 'utf8')) as Report

function begin(...args: readonly string[]) {
  const all = ['--dir', dir(), '--report', join(folder, 'report.json'), ...args]
  const child = spawn(process.execPath, ['--conditions=concordat-source', main, ...all], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text))
  return { child, output: () => output, closed: once(child, 'close').then(() => child.exitCode) }
}

describeWith(['postgres', 'redis', 'rabbitmq', 'kafka'], 'npm run proof', { private: true }, () => {
  it.for(TRANSPORTS)('is exact on %s after every kind of fault', MINUTES, async (transport) => {
    const { output, closed } = begin('--transport', transport, '--messages', '12000', '--faults', '20', '--seed', '4')
    expect(await closed, output()).toBe(0)
    const { exact, counts, wrong, faults, troubles } = reported()
    expect({ exact, troubles, wrong: Object.values(wrong).every((count) => count === 0) }, output()).toEqual({
      exact: true,
      troubles: [],
      wrong: true,
    })
    expect(counts).toMatchObject({ ordersAccepted: 2_000, ordersHandled: 2_000, receipts: 2_000, effects: 7_750 })
    // A command of which an attempt was lost with its process is taken back by two more.
    expect(counts.sent).toBeGreaterThanOrEqual(12_000)
    expect([counts.accepted, counts.handled]).toEqual([counts.sent, counts.sent])
    expect(counts.duplicates).toBeGreaterThan(0)
    expect(faults.every(({ times }) => times >= 1)).toBe(true)
    expect(existsSync(join(dir(), 'servers'))).toBe(false)
    expect(existsSync(join(dir(), 'postgres.log'))).toBe(true)
  })

  it.for([
    ['counts-before-confirm', ['lost']],
    ['effect-without-inbox', ['double effects']],
    ['no-dedupe', ['double effects']],
  ] as const)('finds the mistake "%s"', MINUTES, async ([mistake, found]) => {
    const { output, closed } = begin(...SHORT, '--broken', mistake)
    expect(await closed, output()).toBe(1)
    const { wrong } = reported()
    for (const name of found) expect(wrong[name], output()).toBeGreaterThan(0)
  })

  it('continues where it was killed, and is exact', MINUTES, async () => {
    const first = begin(...SHORT)
    const played = join(dir(), 'faults.jsonl')
    await vi.waitUntil(() => existsSync(played), { timeout: 300_000, interval: 50 })
    first.child.kill('SIGKILL')
    await first.closed
    const second = begin('--resume')
    expect(await second.closed, second.output()).toBe(0)
    expect(reported()).toMatchObject({ exact: true, lives: 2, counts: { receipts: 300 } })
  })

  it('prints how to resume when it is ended', MINUTES, async () => {
    const { child, output, closed } = begin(...SHORT)
    await vi.waitUntil(() => output().includes('orders'), { timeout: 300_000, interval: 50 })
    child.kill('SIGINT')
    expect(await closed, output()).toBe(130)
    expect(output()).toContain(`ended; go on with: npm run proof -- --dir ${dir()} --resume`)
  })
})
