/** What the page shows of a console that froze. */
import { expect, onTestFinished, test, vi } from 'vitest'
import { drain } from '../../support/locks/fake-clock.ts'

/** Members of `page/live.ts`, which is compiled for a browser. */
interface LiveModule {
  readonly Live: new () => { readonly state: string; start(): void }
}
const compiled = new URL('../../../packages/console/page/live.ts', import.meta.url).pathname
const { Live } = (await import(compiled)) as LiveModule

test('the page shows a console as away after 35 s without a byte, and connects again', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] })
  onTestFinished(() => void vi.useRealTimers().unstubAllGlobals())
  vi.stubGlobal('document', { hidden: false, addEventListener: () => {} })
  vi.stubGlobal('localStorage', { getItem: () => null })
  const streams: ReadableStreamDefaultController[] = []
  vi.stubGlobal('fetch', async (_path: string, { signal }: { signal: AbortSignal }) => {
    const start = (controller: ReadableStreamDefaultController): void => {
      streams.push(controller)
      signal.addEventListener('abort', () => controller.error(signal.reason))
    }
    return new Response(new ReadableStream({ start }))
  })
  const passes = async (ms: number): Promise<void> => {
    await vi.advanceTimersByTimeAsync(ms)
    await drain()
  }
  const live = new Live()
  live.start()
  await passes(34_000)
  streams[0]?.enqueue(new TextEncoder().encode(': alive\n\n'))
  await drain()
  await passes(34_000)
  expect([live.state, streams.length]).toEqual(['live', 1])
  await passes(1_500)
  expect(live.state).toBe('away')
  await passes(2_000)
  expect([live.state, streams.length]).toEqual(['live', 2])
})
