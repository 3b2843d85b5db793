// oxlint-disable no-restricted-imports -- inside of the package: what health and reports read
import { expect, onTestFinished, test, vi } from 'vitest'
import { until } from '../support/until.ts'

// A watch of its own: a binder of another file in this process may have started the shared one under a fake clock.
vi.resetModules()
const { eventLoopBlockedMs, watchEventLoop } = await import('../../core/event-loop.ts')

/** Computes, as a handler does that parses or hashes for long. */
function block(durationMs: number): void {
  const end = performance.now() + durationMs
  while (performance.now() < end);
}

test('a computation that keeps the event loop from turning is measured', async () => {
  onTestFinished(watchEventLoop())
  block(1_500)
  await until('it was seen', () => eventLoopBlockedMs() >= 1_000)
})

test('several watchers share one timer, and nothing is known once the last has ended', async () => {
  const [first, second] = [watchEventLoop(), watchEventLoop()]
  first()
  first()
  block(1_000)
  await until('it was seen', () => eventLoopBlockedMs() > 0)
  second()
  expect(eventLoopBlockedMs()).toBe(0)
})
