import { defineSaga, Refusal } from 'concordat/saga'
import { explore } from 'concordat/testing'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { gate } from '../../support/until.ts'
import { runningWorlds } from '../support/running-world.ts'
import { FAST, stockCommands } from '../support/world.ts'

const Input = z.object({ n: z.number() })
const input = { n: 1 }
const within = { timeoutMs: 10_000 }
const setup = runningWorlds()

/** A local step behind a gate, a participant, and a transactional step, all at once; then an end. */
function trip() {
  const [entered, leave] = [gate(), gate()]
  const calls: string[] = []
  const saga = defineSaga('trip', { version: 1, input: Input })
    .parallel((group) =>
      group
        .step('car', {
          invoke: async () => {
            calls.push('car')
            entered.open()
            await leave.opened
            return 'car 7'
          },
          compensate: () => void calls.push('undo car'),
        })
        .command('hotel', { to: stockCommands, request: () => ({ sku: 'bed', n: 1 }), compensate: true })
        .step('pass', {
          transactional: true,
          invoke: () => 'pass 1',
          compensate: () => void calls.push('undo pass'),
        }),
    )
    .step('end', { invoke: ({ results }) => Object.keys(results).toSorted(), compensate: 'none' })
  return { saga, calls, entered, leave }
}

test('a group runs its steps at the same time, and continues when all are done', async () => {
  const { saga, entered, leave, calls } = trip()
  const { coordinator, events } = await setup({
    sagas: [saga],
    handlers: { invoke: () => 'room 3', compensate: () => {} },
  })
  const run = await coordinator.start(saga, { id: 'x', input })
  await entered.opened
  await expect
    .poll(async () => (await run.report()).steps.map(({ status }) => status))
    .toEqual(['invoking', 'invoked', 'invoked', 'pending'])
  leave.open()
  expect((await run.outcome(within)).results).toMatchObject({
    car: 'car 7',
    hotel: 'room 3',
    pass: 'pass 1',
    end: ['car', 'hotel', 'pass'],
  })
  expect(calls).toEqual(['car'])
  expect((await events('trip', 'x')).slice(0, 4)).toEqual([
    'started',
    'invoking car',
    'invoking hotel',
    'invoking pass',
  ])
})

test('a refused member undoes the others, a running one after it has returned', async () => {
  const { saga, entered, leave, calls } = trip()
  const stock: string[] = []
  const { coordinator } = await setup({
    sagas: [saga],
    handlers: {
      invoke: async () => {
        await entered.opened
        stock.push('refuse')
        throw new Refusal('hotel.full', 'no bed')
      },
      compensate: () => void stock.push('undo'),
    },
  })
  const run = await coordinator.start(saga, { id: 'x', input })
  await expect.poll(async () => (await run.report()).steps[1]?.status, { timeout: 10_000 }).toBe('refused')
  expect((await run.report()).status).toBe('running')
  expect(calls).toEqual(['car'])
  leave.open()
  expect(await run.outcome(within)).toMatchObject({
    status: 'compensated',
    failure: { step: 'hotel', code: 'hotel.full' },
  })
  expect(calls).toEqual(['car', 'undo pass', 'undo car'])
  expect(stock).toEqual(['refuse'])
})

test('none of its steps sees the results of the others', async () => {
  const seen: unknown[] = []
  const saga = defineSaga('blind', { version: 1, input: Input })
    .step('before', { invoke: () => 1, compensate: 'none' })
    .parallel((group) =>
      group
        .step('a', { invoke: ({ results }) => seen.push(results), compensate: 'none' })
        .step('b', { invoke: ({ results }) => seen.push(results), compensate: 'none' }),
    )
  const { coordinator } = await setup({ sagas: [saga] })
  await (await coordinator.start(saga, { id: 'x', input })).outcome(within)
  expect(seen).toEqual([{ before: 1 }, { before: 1 }])
})

test('a step of it that fails is tried again while the others are done', async () => {
  let tries = 0
  const saga = defineSaga('retry', { version: 1, input: Input }).parallel((group) =>
    group
      .step('flaky', {
        retry: FAST,
        invoke: () => {
          if (++tries < 3) throw new Error('not yet')
          return tries
        },
        compensate: 'none',
      })
      .command('hotel', { to: stockCommands, request: () => ({ sku: 's', n: 1 }), compensate: true })
      .signal('yes', { payload: z.string() }),
  )
  const { coordinator } = await setup({ sagas: [saga], handlers: { invoke: () => 'ok', compensate: () => {} } })
  const run = await coordinator.start(saga, { id: 'x', input })
  await coordinator.signal(saga, 'x', 'yes', 'go')
  expect((await run.outcome(within)).results).toEqual({ flaky: 3, hotel: 'ok', yes: 'go' })
})

test('a group is taken over whole from an instance that is gone', async () => {
  const { saga, entered, leave, calls } = trip()
  const { coordinator, another, sql, schema } = await setup({
    sagas: [saga],
    handlers: { invoke: () => 'room 3', compensate: () => {} },
    coordinator: { drainTimeoutMs: 0 },
  })
  const run = await coordinator.start(saga, { id: 'x', input })
  await entered.opened
  await expect.poll(async () => (await run.report()).steps[1]?.status).toBe('invoked')
  await sql.query(
    `UPDATE ${schema}.saga SET owner = 'dead', epoch = epoch + 1, revision = revision + 1, due_at = clock_timestamp()`,
  )
  const second = another()
  await second.run()
  await expect.poll(() => calls.length, { timeout: 10_000 }).toBe(2)
  leave.open()
  expect((await second.get(saga, 'x').outcome(within)).status).toBe('completed')
  expect(calls).toEqual(['car', 'car'])
  await second.close()
})

test('a group has no bad end under any fault or pair of faults, in either order', () => {
  const { saga } = trip()
  expect(explore(saga).problems).toEqual([])
  expect(explore(saga, { faults: 2 }).problems).toEqual([])
})
