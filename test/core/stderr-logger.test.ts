import { createBinder, defineChannel, sink } from 'concordat/binder'
import { ConcordatError, silentLogger, stderrLogger } from 'concordat/core'
import { LockError } from 'concordat/locks'
import { memoryTransport } from 'concordat/memory'
import { createService } from 'concordat/service'
import { afterEach, beforeEach, expect, it, onTestFinished, vi } from 'vitest'
import { z } from 'zod'
import { until } from '../support/until.ts'

const lines: string[] = []
beforeEach(() => {
  lines.length = 0
  vi.spyOn(console, 'error').mockImplementation((line: string) => void lines.push(line))
})
afterEach(() => vi.restoreAllMocks())

const channel = defineChannel('orders.placed', { payload: z.object({ id: z.string() }) })
const failing = sink(channel, { group: 'stock', maxAttempts: 1 }, () => {
  throw new Error('no such shelf')
})

it('stderrLogger is the default of a service without a logger: it reports a handler that throws, with its place in the code', async () => {
  await using shop = createService({
    name: 'shop',
    transport: memoryTransport(),
    bindings: [failing],
    sends: [channel],
  })
  await shop.start()
  await shop.send(channel, { id: 'secret-of-the-payload' })
  await until('it is told', () => lines.some((line) => line.includes('message failed for good')))
  const line = lines.find((each) => each.includes('message failed for good'))
  expect(line).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z ERROR concordat: message failed for good \| service=shop binding=/)
  expect(line).toMatch(/Error: no such shelf \(at .*stderr-logger\.test\.ts:\d+:\d+\)?/)
  expect(lines.join('\n')).not.toContain('secret-of-the-payload')
})

it('stderrLogger is the default of a single part, too', async () => {
  const binder = createBinder({ service: 's', transport: memoryTransport(), bindings: [failing], sends: [channel] })
  onTestFinished(() => binder.close())
  await binder.start()
  await binder.send(channel, { id: '1' })
  await until('it is told', () => lines.some((line) => line.includes('message failed for good')))
})

it('a service writes nothing with silentLogger, and nothing about successes', async () => {
  const calls: string[] = []
  const fails = sink(channel, { group: 'stock', maxAttempts: 1 }, () => {
    calls.push('failed')
    throw new Error('no such shelf')
  })
  const works = sink(channel, { group: 'audit' }, () => void calls.push('worked'))
  const parts = { sends: [channel], transport: memoryTransport() }
  const quiet = createService({ ...parts, name: 'quiet', bindings: [fails, works], logger: silentLogger })
  const well = createService({ name: 'well', transport: memoryTransport(), bindings: [works], sends: [channel] })
  for (const service of [quiet, well]) {
    await service.start()
    await service.send(channel, { id: '1' })
  }
  await until('all are handled', () => calls.length === 3)
  await Promise.all([quiet.close(), well.close()])
  expect(lines).toEqual([])
})

it('stderrLogger writes one line, without terminal control characters, with any fields', () => {
  const loop: Record<string, unknown> = {}
  loop['self'] = loop
  stderrLogger.warn(
    { text: 'a\nb \u001b[31mred', loop, big: 1n, bytes: new Uint8Array(2), none: undefined },
    'one\ntwo',
  )
  stderrLogger.error({ err: new Error(`x\n${'y'.repeat(5_000)}`) }, 'long')
  stderrLogger.error({ err: 'no error at all', other: new TypeError('inner') }, 'odd')
  expect(lines[0]).toContain('WARN concordat: one two | text="a\\nb \\u001b[31mred" loop=object big=1 bytes=')
  expect(lines[0]).not.toContain('none')
  expect(lines[2]).toContain('ERROR concordat: odd | other="TypeError: inner')
  expect(lines[2]).toMatch(/\| no error at all$/)
  for (const line of lines) {
    expect(line).not.toMatch(/\p{Cc}/u)
    expect(line.length).toBeLessThan(2_010)
  }
})

it('stderrLogger shows causes once, without the place for intended errors, and without the command of a driver error', () => {
  class Refused extends ConcordatError {
    readonly code = 'test.refused' as const
    readonly retryable = false as const
  }
  const cause = Object.assign(new Error('WRONGPASS'), { command: { name: 'auth', args: ['S3CR3T'] } })
  stderrLogger.warn({ err: new Refused('no connection: WRONGPASS. Check the server', { cause }) }, 'away')
  stderrLogger.warn(
    { err: new Refused('away', { cause: new Error('connect to postgres://app:S3CR3T@db/shop') }) },
    'away',
  )
  expect(lines[0]).toMatch(/away \| Refused \[test\.refused\]: no connection: WRONGPASS\. Check the server$/)
  expect(lines[1]).toMatch(
    /\| Refused \[test\.refused\]: away; caused by Error: connect to postgres:\/\/app:\*\*\*@db\/shop$/,
  )
  expect(lines.join('\n')).not.toContain('S3CR3T')
})

it('stderrLogger hides a password also where a long text is cut, and behind a user name with an @', () => {
  const address = 'postgres://app@corp:S3CR3T-S3CR3T@db/shop'
  stderrLogger.warn({ at: address, long: `${'x'.repeat(270)} ${address}` }, 'away')
  stderrLogger.warn({ err: new Error(`${'x'.repeat(960)} ${address}`) }, 'away')
  expect(lines[0]).toContain('at=postgres://app@corp:***@db/shop')
  expect(lines.join('\n')).not.toContain('S3CR')
})

it('stderrLogger hides a password behind two megabytes that could each begin an address', () => {
  stderrLogger.warn({ text: `${'://a:'.repeat(400_000)}S3CR3T@db` }, 'received')
  expect(lines[0]).toContain('://a:***@db')
})

it('stderrLogger names the code of an error, and where the package explains it', () => {
  stderrLogger.warn({ err: new LockError('locks.reentered', { key: 'sku' }) }, 'failed')
  expect(lines[0]).toMatch(
    /\| LockError \[locks\.reentered\]: .* \(see locks\.reentered in node_modules\/concordat\/docs\/reference\/errors\.md\)$/,
  )
})

it('stderrLogger shows as much as possible of an unreadable error', () => {
  const unreadable = Object.defineProperty(new Error('x'), 'message', {
    get: () => {
      throw new Error('no')
    },
  })
  stderrLogger.warn({ err: unreadable, attempt: 1 }, 'failed')
  stderrLogger.warn({ err: Object.assign(new Error('odd'), { stack: ['a', 'list'] }) }, 'failed')
  expect(lines[0]).toMatch(/WARN concordat: failed \| attempt=1 \| Error: an error that cannot be read/)
  expect(lines[1]).toMatch(/failed \| Error: odd$/)
})
