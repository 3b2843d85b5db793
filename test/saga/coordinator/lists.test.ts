import { defineSaga, Refusal } from 'concordat/saga'
import { explore } from 'concordat/testing'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { gate } from '../../support/until.ts'
import { runningWorlds } from '../support/running-world.ts'
import { FAST, stockCommands } from '../support/world.ts'

const Input = z.object({ skus: z.array(z.string()) })
const input = { skus: ['a', 'b', 'c'] }
const within = { timeoutMs: 10_000 }
const setup = runningWorlds()

test('a list makes a step for each item, one after the other, each with a key of its own, and passes the results on', async () => {
  const keys: string[] = []
  const saga = defineSaga('ship-all', { version: 1, input: Input })
    .each('ship', {
      over: ({ input }) => input.skus,
      invoke: ({ item, index, key, results }) => {
        keys.push(key)
        expect(results).toEqual({})
        return `${item} ${index}`
      },
      compensate: 'none',
    })
    .step('end', { invoke: ({ results }) => results.ship.join(), compensate: 'none' })
  const { coordinator, events } = await setup({ sagas: [saga] })
  const run = await coordinator.start(saga, { id: 'x', input })
  expect((await run.outcome(within)).results).toEqual({ ship: ['a 0', 'b 1', 'c 2'], end: 'a 0,b 1,c 2' })
  expect(keys).toEqual([0, 1, 2].map((n) => `ship-all/x/ship[${n}]`))
  expect((await events('ship-all', 'x')).slice(0, 4)).toEqual([
    'started',
    'planned ship',
    'invoking ship[0]',
    'invoked ship[0]',
  ])
  expect((await run.report()).steps.map(({ step, status }) => `${step} ${status}`)).toEqual([
    'ship invoked',
    'ship[0] invoked',
    'ship[1] invoked',
    'ship[2] invoked',
    'end invoked',
  ])
})

test('an empty list is done, and its result is an empty list', async () => {
  const saga = defineSaga('empty', { version: 1, input: Input })
    .each('ship', { over: ({ input }) => input.skus, invoke: () => 1, compensate: 'none' })
    .step('end', { invoke: ({ results }) => results.ship.length, compensate: 'none' })
  const { coordinator } = await setup({ sagas: [saga] })
  const run = await coordinator.start(saga, { id: 'x', input: { skus: [] } })
  expect((await run.outcome(within)).results).toEqual({ ship: [], end: 0 })
})

test('a list makes no more items at once than its limit', async () => {
  let [running, most] = [0, 0]
  const saga = defineSaga('bounded', { version: 1, input: Input }).each('ship', {
    over: ({ input }) => input.skus,
    atOnce: 2,
    invoke: async ({ index }) => {
      most = Math.max(most, ++running)
      await new Promise((resolve) => setTimeout(resolve, 5))
      running--
      return index
    },
    compensate: 'none',
  })
  const { coordinator } = await setup({ sagas: [saga] })
  const skus = Array.from({ length: 7 }, (_, n) => `${n}`)
  const run = await coordinator.start(saga, { id: 'x', input: { skus } })
  expect((await run.outcome(within)).results).toEqual({ ship: [0, 1, 2, 3, 4, 5, 6] })
  expect(most).toBe(2)
})

test('the next item begins when one has returned, not when all that run have', async () => {
  const [slow, last] = [gate(), gate()]
  const saga = defineSaga('sliding', { version: 1, input: Input }).each('ship', {
    over: ({ input }) => input.skus,
    atOnce: 2,
    invoke: async ({ item, index }) => {
      if (index === 2) last.open()
      if (item === 'a') await slow.opened
      return item
    },
    compensate: 'none',
  })
  const { coordinator } = await setup({ sagas: [saga] })
  const run = await coordinator.start(saga, { id: 'x', input })
  await last.opened
  slow.open()
  expect((await run.outcome(within)).results).toEqual({ ship: ['a', 'b', 'c'] })
})

test('a refused item undoes the earlier ones, last first, and no later one is begun', async () => {
  const calls: string[] = []
  const saga = defineSaga('back', { version: 1, input: Input })
    .step('open', { invoke: () => {}, compensate: () => void calls.push('undo open') })
    .each('ship', {
      over: () => ['a', 'b', 'c', 'd'],
      invoke: ({ item }) => {
        calls.push(item)
        if (item === 'c') throw new Refusal('ship.full', 'no room')
        return `parcel ${item}`
      },
      compensate: ({ item, result, index }) => void calls.push(`undo ${item} ${index} ${result}`),
    })
  const { coordinator } = await setup({ sagas: [saga] })
  const run = await coordinator.start(saga, { id: 'x', input })
  expect(await run.outcome(within)).toMatchObject({
    status: 'compensated',
    failure: { step: 'ship[2]', code: 'ship.full' },
  })
  expect(calls).toEqual(['a', 'b', 'c', 'undo b 1 parcel b', 'undo a 0 parcel a', 'undo open'])
})

test('commands for the items are sent at once and undone, each under its own key', async () => {
  const calls: string[] = []
  const saga = defineSaga('commands', { version: 1, input: Input })
    .each('reserve', {
      over: ({ input }) => input.skus,
      atOnce: 3,
      to: stockCommands,
      request: ({ item, index }) => ({ sku: item, n: index }),
      reply: z.object({ left: z.number() }),
      compensate: true,
    })
    .step('no', {
      invoke: ({ results }) => {
        throw new Refusal('shop.closed', JSON.stringify(results.reserve))
      },
      compensate: 'none',
    })
  const { coordinator } = await setup({
    sagas: [saga],
    handlers: {
      invoke: ({ sku, n }, { key }) => {
        calls.push(`${sku} ${key}`)
        return { left: n }
      },
      compensate: ({ sku }, { key }) => void calls.push(`undo ${sku} ${key}`),
    },
  })
  const outcome = await (await coordinator.start(saga, { id: 'x', input })).outcome(within)
  expect(outcome).toMatchObject({ status: 'compensated', failure: { message: '[{"left":0},{"left":1},{"left":2}]' } })
  expect(calls.slice(0, 3).toSorted()).toEqual([0, 1, 2].map((n) => `${'abc'[n]} commands/x/reserve[${n}]`))
  expect(calls.slice(3)).toEqual([2, 1, 0].map((n) => `undo ${'abc'[n]} commands/x/reserve[${n}]`))
})

test('a list stays as planned, even if the definition would differ later, on any instance', async () => {
  const [entered, leave] = [gate(), gate()]
  let skus = ['a', 'b', 'c']
  const calls: string[] = []
  const saga = defineSaga('kept', { version: 1, input: Input }).each('ship', {
    over: () => skus,
    invoke: async ({ item, index }) => {
      calls.push(`${item}${index}`)
      entered.open()
      await leave.opened
      return item
    },
    compensate: 'none',
  })
  const { coordinator, another, sql, schema } = await setup({ sagas: [saga], coordinator: { drainTimeoutMs: 0 } })
  const run = await coordinator.start(saga, { id: 'x', input })
  await entered.opened
  skus = ['other']
  await sql.query(
    `UPDATE ${schema}.saga SET owner = 'dead', epoch = epoch + 1, revision = revision + 1, due_at = clock_timestamp()`,
  )
  const second = another()
  await second.run()
  await expect.poll(() => calls.length, { timeout: 10_000 }).toBe(2)
  leave.open()
  expect((await second.get(saga, 'x').outcome(within)).results).toEqual({ ship: ['a', 'b', 'c'] })
  expect(calls).toEqual(['a0', 'a0', 'b1', 'c2'])
  expect((await run.report()).status).toBe('completed')
  await second.close()
})

test('a list that is too long, or invalid, is refused, and earlier steps are undone', async () => {
  const undone: string[] = []
  const saga = defineSaga('wrong', { version: 1, input: z.object({ items: z.unknown() }) })
    .step('open', { invoke: () => {}, compensate: ({ sagaId }) => void undone.push(sagaId) })
    .each('ship', {
      over: ({ input }) => input.items as string[],
      maxItems: 2,
      invoke: () => 1,
      compensate: 'none',
    })
  const { coordinator } = await setup({ sagas: [saga] })
  const end = async (id: string, items: unknown) =>
    (await coordinator.start(saga, { id, input: { items } })).outcome(within)
  expect(await end('long', [1, 2, 3])).toMatchObject({
    status: 'compensated',
    failure: { step: 'ship', message: expect.stringContaining('at most 2 items (maxItems), got 3') },
  })
  expect(await end('none', 'text')).toMatchObject({
    failure: { step: 'ship', message: expect.stringContaining('expected an array of items, got "text"') },
  })
  expect(undone).toEqual(['long', 'none'])
})

test('within a group its items are made beside the other steps', async () => {
  const saga = defineSaga('beside', { version: 1, input: Input })
    .step('first', { invoke: () => 1, compensate: 'none' })
    .parallel((group) =>
      group
        .each('ship', {
          over: ({ input }) => input.skus,
          atOnce: 2,
          invoke: ({ item, results }) => `${item}${Object.keys(results).join()}`,
          compensate: 'none',
        })
        .command('hotel', { to: stockCommands, request: () => ({ sku: 's', n: 1 }), compensate: true })
        .signal('yes', { payload: z.string() }),
    )
    .step('end', { invoke: ({ results }) => [results.ship, results.hotel, results.yes], compensate: 'none' })
  const { coordinator } = await setup({ sagas: [saga], handlers: { invoke: () => 'room', compensate: () => {} } })
  const run = await coordinator.start(saga, { id: 'x', input })
  await coordinator.signal(saga, 'x', 'yes', 'go')
  expect((await run.outcome(within)).results.end).toEqual([['afirst', 'bfirst', 'cfirst'], 'room', 'go'])
})

test('a list that is not needed is left out with all its items', async () => {
  const saga = defineSaga('unneeded', { version: 1, input: Input }).when(
    ({ input }) => input.skus.length > 5,
    (many) => many.each('ship', { over: ({ input }) => input.skus, invoke: () => 1, compensate: 'none' }),
  )
  const { coordinator } = await setup({ sagas: [saga] })
  const run = await coordinator.start(saga, { id: 'x', input })
  expect((await run.outcome(within)).results).toEqual({})
  expect((await run.report()).steps).toMatchObject([{ step: 'ship', status: 'omitted' }])
})

test('after the pivot an item that fails is parked while the others are made, and an operator frees it', async () => {
  let isFixed = false
  const saga = defineSaga('forward', { version: 1, input: Input })
    .step('pay', { pivot: true, invoke: () => {} })
    .each('ship', {
      over: ({ input }) => input.skus,
      atOnce: 2,
      retry: { ...FAST, maxAttempts: 2 },
      invoke: ({ item }) => {
        if (item === 'a' && !isFixed) throw new Error('broken')
        return item
      },
    })
  const { coordinator } = await setup({ sagas: [saga] })
  const run = await coordinator.start(saga, { id: 'x', input })
  expect(await run.outcome(within)).toMatchObject({ status: 'stuck', failure: { step: 'ship[0]', message: 'broken' } })
  expect((await run.report()).steps.map(({ status }) => status)).toEqual([
    'invoked',
    'invoked',
    'invoking',
    'invoked',
    'invoked',
  ])
  isFixed = true
  await coordinator.retry(run, { by: 'ann', reason: 'fixed' })
  expect((await run.outcome(within)).results.ship).toEqual(['a', 'b', 'c'])
})

test('a list of sagas starts one for each item, and undoes them', async () => {
  const calls: string[] = []
  const child = defineSaga('parcel', { version: 1, input: z.string() }).step('pack', {
    invoke: ({ input }) => {
      calls.push(input)
      return input.toUpperCase()
    },
    compensate: ({ input }) => void calls.push(`undo ${input}`),
  })
  const saga = defineSaga('parcels', { version: 1, input: Input })
    .each('send', { over: ({ input }) => input.skus, saga: child, input: ({ item }) => item, compensate: true })
    .step('no', {
      invoke: ({ results }) => {
        throw new Refusal('no', results.send.map(({ pack }) => pack).join())
      },
      compensate: 'none',
    })
  const { coordinator } = await setup({ sagas: [saga] })
  const outcome = await (await coordinator.start(saga, { id: 'x', input })).outcome(within)
  expect(outcome).toMatchObject({ status: 'compensated', failure: { message: 'A,B,C' } })
  expect(calls).toEqual(['a', 'b', 'c', 'undo c', 'undo b', 'undo a'])
})

test('a list has no bad end under any fault or pair of faults', () => {
  const items = { over: () => ['a'], atOnce: 2 }
  const saga = defineSaga('explored', { version: 1, input: Input })
    .each('one', { ...items, invoke: () => 1, compensate: () => {} })
    .each('two', { ...items, to: stockCommands, request: () => ({ sku: 's', n: 1 }), compensate: true })
    .step('pivot', { pivot: true, transactional: true, invoke: () => {} })
    .each('three', { ...items, atOnce: 1, invoke: () => 1 })
  const explored = explore(saga)
  expect(explored.problems).toEqual([])
  expect(explored.runs.flatMap(({ faults }) => faults.map(({ step }) => step))).toContain('two[1]')
  expect(explore(saga, { faults: 2 }).problems).toEqual([])
})
