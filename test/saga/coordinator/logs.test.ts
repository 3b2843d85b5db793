import { defineSaga, Refusal } from 'concordat/saga'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { LogLines } from '../../support/log-lines.ts'
import { until } from '../../support/until.ts'
import { runningWorlds } from '../support/running-world.ts'

const setup = runningWorlds()
const SECRET = 'tulip-4711'
const retry = { maxAttempts: 2, initialMs: 1, maxMs: 1 }

/** Saga whose input and step results hold the secret, which must not be logged. */
const pay = defineSaga('pay', {
  version: 1,
  input: z.object({ card: z.string(), fails: z.enum(['no', 'refuse', 'stuck']) }),
})
  .step('reserve', {
    transactional: true,
    retry,
    invoke: ({ input }) => ({ reserved: input.card }),
    compensationRetry: retry,
    compensate: ({ input }) => {
      if (input.fails === 'stuck') throw new Error('the warehouse is down')
    },
  })
  .step('charge', {
    transactional: true,
    pivot: true,
    retry,
    invoke: ({ input }) => {
      if (input.fails !== 'no') throw new Refusal('bank.no', 'no')
    },
  })

test('the log lines of a coordinator hold neither inputs nor results, with any end of a saga', async () => {
  const log = new LogLines()
  const { coordinator } = await setup({ sagas: [pay], coordinator: { logger: log.logger } })
  for (const fails of ['no', 'refuse', 'stuck'] as const)
    await coordinator.start(pay, { id: fails, input: { card: SECRET, fails } })
  const statusOf = async (id: string) => (await coordinator.list()).find((saga) => saga.id === id)?.status
  await until('one is stuck', async () => (await statusOf('stuck')) === 'stuck')
  await until('the others ended', async () => {
    return (await statusOf('no')) === 'completed' && (await statusOf('refuse')) === 'compensated'
  })
  const has = (said: string) => log.lines.some(({ message }) => message === said)
  // The line follows the commit.
  await until('it is said', () => has('saga stuck: an operator has to look at it'))
  expect(has('saga step failed')).toBe(true)
  expect(log.text).toContain('the warehouse is down')
  expect(log.text).not.toContain(SECRET)
})

test('a refusal is logged without a stack, and a completed saga without a step', async () => {
  const log = new LogLines()
  const { coordinator } = await setup({ sagas: [pay], coordinator: { logger: log.logger } })
  for (const fails of ['no', 'refuse'] as const)
    await coordinator.start(pay, { id: fails, input: { card: SECRET, fails } })
  const ends = (message: string) => log.lines.filter((line) => line.message === message).map(({ fields }) => fields)
  await until('both have ended', () => ends('saga completed').length + ends('saga compensated').length === 2)
  expect(ends('saga step refused')).toEqual([
    expect.objectContaining({ saga: 'pay', id: 'refuse', step: 'charge', code: 'bank.no', reason: 'no' }),
  ])
  expect(log.text).not.toContain('stack')
  expect(Object.keys(ends('saga completed')[0] ?? {})).not.toContain('step')
  expect(ends('saga compensated')[0]).toMatchObject({ step: 'charge', code: 'bank.no' })
})
