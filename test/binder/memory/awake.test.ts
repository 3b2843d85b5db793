import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'

const execute = promisify(execFile)

/** Runs a program that nothing else keeps alive and that closes nothing. */
async function run(binding: string): Promise<string> {
  const program = `
    import { createBinder, defineChannel, sink, sinkBatch } from 'concordat/binder'
    import { memoryTransport } from 'concordat/memory'
    import { z } from 'zod'
    const numbers = defineChannel('numbers', { payload: z.number(), groups: ['g'] })
    let calls = 0
    const binder = createBinder({ service: 'awake', transport: memoryTransport(), bindings: [${binding}] })
    await binder.start()
    await binder.sendBatch(numbers, [1, 2, 3])
  `
  const options = ['--conditions=concordat-source', '--input-type=module-typescript', '--eval', program]
  return (await execute(process.execPath, options)).stdout.trim().replaceAll('\n', ' ')
}

describe('a process with a memory transport', () => {
  it('lives until rate-limited messages are handled, and no longer', async () => {
    expect(
      await run(`sink(numbers, { group: 'g', rateLimit: { perSecond: 20, burst: 1 } }, (n) => console.log(n))`),
    ).toBe('1 2 3')
  })

  it('lives until a batch that waits for company is handled', async () => {
    expect(
      await run(`sinkBatch(numbers, { group: 'g', batch: { maxWaitMs: 50 } }, (items) => console.log(items.length))`),
    ).toBe('3')
  })

  it('lives until an open circuit has let the messages through', async () => {
    const breaker = '{ failures: 1, pauseMs: 30 }'
    const options = `{ group: 'g', backoff: { initialMs: 1 }, circuitBreaker: ${breaker} }`
    expect(
      await run(`sink(numbers, ${options}, (n) => { if (++calls === 1) throw new Error('down'); console.log(n) })`),
    ).toBe('1 2 3')
  })
})
