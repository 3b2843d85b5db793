import { defineSaga, Refusal } from 'concordat/saga'
import { explore } from 'concordat/testing'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { runningWorlds } from '../support/running-world.ts'
import { FAST, stockCommands } from '../support/world.ts'

const Input = z.object({ km: z.number() })
const within = { timeoutMs: 10_000 }
const setup = runningWorlds()

/** Saga with a choice: by air with two steps, by road with a command, or neither. */
function delivery() {
  const calls: string[] = []
  const asked: number[] = []
  const saga = defineSaga('delivery', { version: 1, input: Input })
    .step('open', { invoke: () => void calls.push('open'), compensate: () => void calls.push('undo open') })
    .choose(
      'route',
      ({ input, results }) => {
        expect(results).toEqual({})
        asked.push(input.km)
        return input.km > 500 ? 'air' : input.km > 0 ? 'road' : 'none'
      },
      {
        air: (air) =>
          air
            .step('fly', { invoke: () => 'flown', compensate: () => void calls.push('undo fly') })
            .step('land', { invoke: ({ results }) => `${results.fly}, landed`, compensate: 'none' }),
        road: (road) =>
          road.command('drive', {
            to: stockCommands,
            request: ({ input }) => ({ sku: 'van', n: input.km }),
            reply: z.string(),
            compensate: true,
          }),
        none: (none) => none,
      },
    )
    .step('end', {
      invoke: ({ results }) => {
        if (results.land !== undefined && asked.length > 1) throw new Refusal('late', 'too late')
        return `${results.route}: ${results.land ?? results.drive ?? 'nothing'}`
      },
      compensate: 'none',
    })
  return { saga, calls, asked }
}

test.each([
  ['air', 900, 'air: flown, landed', ['drive']],
  ['road', 20, 'road: ok', ['fly', 'land']],
  ['none', 0, 'none: nothing', ['fly', 'land', 'drive']],
])('a choice makes the steps of the branch that it has chosen: %s', async (branch, km, end, omitted) => {
  const { saga, asked } = delivery()
  const { coordinator, events } = await setup({ sagas: [saga], handlers: { invoke: () => 'ok', compensate: () => {} } })
  const run = await coordinator.start(saga, { id: 'x', input: { km } })
  expect((await run.outcome(within)).results).toMatchObject({ route: branch, end })
  expect(asked, 'asked once').toEqual([km])
  expect((await run.report()).steps.filter(({ status }) => status === 'omitted').map(({ step }) => step)).toEqual(
    omitted,
  )
  expect((await events('delivery', 'x')).slice(3, 4 + omitted.length)).toEqual([
    'chosen route',
    ...omitted.map((step) => `omitted ${step}`),
  ])
})

test('a choice undoes the steps of the branch, and none of another', async () => {
  const { saga, calls, asked } = delivery()
  asked.push(0)
  const { coordinator } = await setup({ sagas: [saga] })
  const run = await coordinator.start(saga, { id: 'x', input: { km: 900 } })
  expect(await run.outcome(within)).toMatchObject({ status: 'compensated', failure: { code: 'late' } })
  expect(calls).toEqual(['open', 'undo fly', 'undo open'])
})

test('a choice is not decided again, even if the condition would differ later', async () => {
  let branch: 'a' | 'b' = 'a'
  const calls: string[] = []
  const saga = defineSaga('once', { version: 1, input: Input }).choose('which', () => branch, {
    a: (a) =>
      a
        .step('a1', { invoke: () => void (branch = 'b'), compensate: 'none' })
        .step('a2', { retry: FAST, invoke: () => void calls.push('a2'), compensate: 'none' }),
    b: (b) => b.step('b1', { invoke: () => void calls.push('b1'), compensate: 'none' }),
  })
  const { coordinator } = await setup({ sagas: [saga] })
  const run = await coordinator.start(saga, { id: 'x', input: { km: 1 } })
  expect((await run.outcome(within)).status).toBe('completed')
  expect(calls).toEqual(['a2'])
})

test('a choice within a branch is left out with its branch', async () => {
  const saga = defineSaga('nested', { version: 1, input: Input }).choose(
    'outer',
    ({ input }) => (input.km > 1 ? 'far' : 'near'),
    {
      far: (far) =>
        far.choose('inner', ({ input }) => (input.km > 2 ? 'x' : 'y'), {
          x: (x) => x.step('plane', { invoke: () => 'x', compensate: 'none' }),
          y: (y) => y,
        }),
      near: (near) => near.step('walk', { invoke: () => 'walk', compensate: 'none' }),
    },
  )
  const { coordinator } = await setup({ sagas: [saga] })
  const end = async (km: number) =>
    (await (await coordinator.start(saga, { id: String(km), input: { km } })).outcome(within)).results
  expect(await end(1)).toEqual({ outer: 'near', walk: 'walk' })
  expect(await end(2)).toEqual({ outer: 'far', inner: 'y' })
  expect(await end(3)).toEqual({ outer: 'far', inner: 'x', plane: 'x' })
})

test('an answer that names no branch is refused, with the existing ones', async () => {
  const saga = defineSaga('lost', { version: 1, input: Input }).choose('which', () => 'c' as 'a', {
    a: (a) => a,
    b: (b) => b,
  })
  const { coordinator } = await setup({ sagas: [saga] })
  const outcome = await (await coordinator.start(saga, { id: 'x', input: { km: 1 } })).outcome(within)
  expect(outcome).toMatchObject({
    status: 'compensated',
    failure: { step: 'which', message: expect.stringContaining('the name of a branch: a, b, got "c"') },
  })
})

test.each([
  ['a branch is made, and no other', 'b', 'completed', ['b1']],
  ['nothing is said: none is made', undefined, 'completed', []],
  ['no branch is refused', 'c', 'stuck', []],
])('skipped by an operator after the pivot: %s', async (_, result, status, made) => {
  const calls: string[] = []
  const saga = defineSaga('parked', { version: 1, input: Input })
    .step('pay', { pivot: true, invoke: () => 'paid' })
    .choose('which', () => 'c' as 'a', {
      a: (a) => a.step('a1', { invoke: () => void calls.push('a1') }),
      b: (b) => b.step('b1', { invoke: () => void calls.push('b1') }),
    })
  const { coordinator } = await setup({ sagas: [saga] })
  const run = await coordinator.start(saga, { id: 'x', input: { km: 1 } })
  expect((await run.outcome(within)).status).toBe('stuck')
  const skipped = coordinator.skip(
    { saga: 'parked', id: 'x' },
    { by: 'ada', reason: 'why', ...(result !== undefined && { result }) },
  )
  if (status === 'stuck') await expect(skipped).rejects.toMatchObject({ code: expect.stringContaining('saga.') })
  else await skipped
  expect(await run.outcome(within)).toMatchObject({
    status,
    ...(status === 'completed' && { results: { which: result } }),
  })
  expect(calls).toEqual(made)
})

test('a choice has no bad end under any fault in any branch', () => {
  const { saga } = delivery()
  const explored = explore(saga, { faults: 2 })
  expect(explored.problems).toEqual([])
  const effects = explored.runs.filter(({ faults }) => faults.length === 0).map((run) => run.effects.join())
  expect(effects).toEqual(['open,fly,land,end', 'open,drive,end', 'open,end'])
})
