// oxlint-disable no-restricted-imports -- inside of the coordinator: which sagas it remembers
import { defineChannel } from 'concordat/binder'
import { defineSaga } from 'concordat/saga'
import { expect, test } from 'vitest'
import { z } from 'zod'
import type { LoadedSaga } from '../../../saga/coordinator/loaded-saga.ts'
import { UnansweredCommands } from '../../../saga/coordinator/unanswered-commands.ts'

const Nothing = z.object({})
const commands = defineChannel('stock.commands', { payload: Nothing, partitions: 1 })
const saga = defineSaga('order', { version: 1, input: Nothing }).command('reserve', {
  to: commands,
  request: () => ({}),
  compensate: 'none',
})

/** The saga with this id, whose step was requested this many times in vain; `undefined`: it was answered. */
function written(id: string, unanswered?: number): LoadedSaga {
  const step = { step: 'reserve', status: 'invoking', attempts: 1, unanswered }
  return { saga, row: { name: 'order', id, revision: 1, state: { steps: [step] } } } as unknown as LoadedSaga
}

const late = (id: string) => ({
  saga: 'order',
  id,
  step: 'reserve',
  operation: 'invoke',
  to: 'stock.commands',
  attempts: 1,
})

test('a late command is reported when it was sent again, and not when something else was written', () => {
  const seen = new UnansweredCommands()
  expect(seen.seen(written('a', 1), true)).toEqual([{ late: late('a'), isFirst: true }])
  expect(seen.seen(written('a', 1), false)).toEqual([])
  expect(seen.steps()).toMatchObject([{ step: 'reserve', count: 1 }])
})

test('a saga without a late command is not remembered, so its revision is not asked for', async () => {
  const seen = new UnansweredCommands()
  seen.seen(written('a'), true)
  seen.seen(written('b', 1), true)
  const asked: unknown[] = []
  await seen.forgetWritten(async (keys) => {
    asked.push(...keys)
    return new Map([['order/b', 1]])
  })
  expect(asked).toEqual([{ name: 'order', id: 'b' }])
  expect(seen.steps()).toMatchObject([{ count: 1 }])
})
