import { defineSaga } from 'concordat/saga'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { runningWorlds } from '../support/running-world.ts'

const setup = runningWorlds()
const none = { invoke: () => undefined, compensate: 'none' } as const
const within = { timeoutMs: 10_000 }

describe('a condition that changes while a saga is inside of its block', () => {
  test.each([
    ['made', true, ['invoked', 'invoked', 'invoked', 'omitted']],
    ['left out', false, ['invoked', 'omitted', 'omitted', 'omitted']],
  ] as const)('leaves the block %s as a whole, and the next block is decided by itself', async (_, first, expected) => {
    let answer: boolean = first
    const is = () => answer
    const whole = defineSaga('whole', { version: 1, input: z.object({}) })
      .step('open', none)
      .when(is, (block) => block.signal('go', { payload: z.string() }).step('charge', none))
      .when(is, (block) => block.step('second', none))
    const world = await setup({ sagas: [whole] })
    const run = await world.coordinator.start(whole, { id: '1', input: {} })
    if (first) {
      await expect.poll(async () => (await run.report())?.steps[1]?.status).toBe('invoking')
      answer = false
      await world.coordinator.signal(whole, '1', 'go', 'now')
    }
    expect(await run.outcome(within)).toMatchObject({ status: 'completed' })
    expect((await run.report())?.steps.map(({ status }) => status)).toEqual(expected)
  })

  test('is evaluated once for a block, and once for an inner one', async () => {
    const asked: string[] = []
    const ask = (name: string, answer: boolean) => () => {
      asked.push(name)
      return answer
    }
    const saga = defineSaga('nested', { version: 1, input: z.object({}) }).when(ask('outer', true), (outer) =>
      outer
        .step('a', none)
        .when(ask('inner', false), (inner) => inner.step('b', none).step('c', none))
        .parallel((group) => group.step('d', none).step('e', none)),
    )
    const world = await setup({ sagas: [saga] })
    const run = await world.coordinator.start(saga, { id: '1', input: {} })
    expect(await run.outcome(within)).toMatchObject({ status: 'completed' })
    expect(asked).toEqual(['outer', 'inner'])
  })
})
