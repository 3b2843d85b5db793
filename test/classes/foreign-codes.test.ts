/**
 * Errors of user functions that have codes of this package: rebuilt from the answer of another service, or thrown by a part
 * that the function calls. They fail like every other error. Only `*.closed` is no verdict: see `closing-handlers.test.ts`.
 */
import { readFileSync } from 'node:fs'
import { createBinder, defineChannel, sinkBatch } from 'concordat/binder'
import { silentLogger } from 'concordat/core'
import { memoryTransport } from 'concordat/memory'
import { defineSaga, SagaError } from 'concordat/saga'
import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { runningWorlds } from '../saga/support/running-world.ts'
import { FAST, stockCommands } from '../saga/support/world.ts'
import { until } from '../support/until.ts'

const CODES = [...readFileSync('docs/reference/errors.md', 'utf8').matchAll(/^### (\S+)$/gm)]
  .map(([, code = '']) => code.replaceAll('\\', ''))
  .filter((code) => !code.endsWith('closed'))
const setup = runningWorlds()

const foreign = (code: string): Error => Object.assign(new Error('no'), { code, retryable: false })

test('the codes are read from the page of errors', () => {
  expect(CODES.length).toBeGreaterThan(90)
  expect(CODES).toContain('saga.input_unreadable')
})

test('a step that throws an error with a code of the package is called once, and its saga turns back', async () => {
  const calls = new Map<string, number>()
  const saga = defineSaga('codes', { version: 1, input: z.object({ code: z.string() }) }).step('pay', {
    compensate: 'none',
    invoke: ({ input: { code } }) => {
      calls.set(code, (calls.get(code) ?? 0) + 1)
      throw foreign(code)
    },
  })
  const { coordinator } = await setup({ sagas: [saga] })
  const outcomes = await Promise.all(
    CODES.map(async (code) => {
      const run = await coordinator.start(saga, { id: code, input: { code } })
      const outcome = await run.outcome({ timeoutMs: 20_000 })
      return [code, outcome.status, outcome.status === 'compensated' && outcome.failure.code, calls.get(code)]
    }),
  )
  expect(outcomes).toEqual(CODES.map((code) => [code, 'compensated', code, 1]))
})

test('a step that throws an error of the package about another saga fails like any other', async () => {
  let calls = 0
  const saga = defineSaga('asker', { version: 1, input: z.object({ n: z.number() }) }).step('ask', {
    compensate: 'none',
    retry: { ...FAST, maxAttempts: 2 },
    invoke: ({ input: { n } }) => {
      calls++
      throw n === 1
        ? new SagaError('saga.result_unreadable', { saga: 'other', id: 'x', version: 1, step: 'charge' })
        : new SagaError('saga.ownership_lost', { saga: 'other', id: 'x' })
    },
  })
  const { coordinator } = await setup({ sagas: [saga], coordinator: { leaseMs: 300 } })
  for (const [n, code] of [
    [1, 'saga.result_unreadable'],
    [2, 'saga.ownership_lost'],
  ] as const) {
    const run = await coordinator.start(saga, { id: code, input: { n } })
    const failure = { step: 'ask', code }
    expect(await run.outcome({ timeoutMs: 10_000 })).toMatchObject({ status: 'compensated', failure })
  }
  // The first is terminal, the second is tried again.
  expect(calls).toBe(3)
})

test('a request of a command that throws such an error is made once, too', async () => {
  const calls = new Map<string, number>()
  const saga = defineSaga('requests', { version: 1, input: z.object({ code: z.string() }) }).command('pay', {
    to: stockCommands,
    retry: FAST,
    compensate: true,
    request: ({ input: { code } }) => {
      calls.set(code, (calls.get(code) ?? 0) + 1)
      throw foreign(code)
    },
  })
  const { coordinator } = await setup({ sagas: [saga] })
  const outcomes = await Promise.all(
    CODES.map(async (code) => {
      const run = await coordinator.start(saga, { id: code, input: { code } })
      return [code, (await run.outcome({ timeoutMs: 20_000 })).status, calls.get(code)]
    }),
  )
  expect(outcomes).toEqual(CODES.map((code) => [code, 'compensated', 1]))
})

test.each(CODES.filter((code) => code.startsWith('binder.')))(
  'a batch handler that throws an error with the code %s for one message handles the others',
  async (code) => {
    const channel = defineChannel('numbers', { payload: z.number() })
    const handled: number[] = []
    const options = { group: 'g', maxAttempts: 3, backoff: FAST, batch: { maxSize: 3, maxWaitMs: 10 } }
    const binding = sinkBatch(channel, options, (items) => {
      const numbers = items.map(({ payload }) => payload)
      if (numbers.includes(2)) throw Object.assign(new Error('no'), { code })
      handled.push(...numbers)
    })
    const parts = { service: 's', transport: memoryTransport(), logger: silentLogger }
    const binder = createBinder({ ...parts, bindings: [binding], sends: [channel] })
    onTestFinished(() => binder.close())
    await binder.start()
    await binder.sendBatch(channel, [1, 2, 3])
    await until('all ended', () => binder.binding('numbers.g').status().deadLettered > 0 && handled.length === 2)
    expect(handled.toSorted((a, b) => a - b)).toEqual([1, 3])
    expect(binder.binding('numbers.g').status()).toMatchObject({ handled: 2, deadLettered: 1 })
  },
)
