import { createBinder, defineChannel, TerminalError } from 'concordat/binder'
import { memoryTransport } from 'concordat/memory'
import { from, type Pipeline, pipeline } from 'concordat/pipeline'
import { createTestKit } from 'concordat/testing'
import { expect, test } from 'vitest'
import { z } from 'zod'

const Order = z.object({ id: z.string(), cents: z.number(), skus: z.array(z.string()) })
const placed = defineChannel('orders.placed', { payload: Order, key: ({ id }) => id })
const lines = defineChannel('orders.lines', { payload: z.object({ id: z.string(), sku: z.string() }) })
const reviews = defineChannel('reviews', { payload: z.string() })
const texts = defineChannel('texts', { payload: z.string(), key: (text) => `text ${text}` })

const order = (id: string, cents: number, ...skus: string[]) => ({ id, cents, skus })

function kitOf({ bindings }: Pipeline) {
  return createTestKit({ bindings, sends: [placed, lines, reviews, texts] })
}

test('stages run one after the other in one handler', async () => {
  const looked: string[] = []
  const orders = pipeline(
    'orders',
    from(placed)
      .filter(async ({ cents }) => cents > 0)
      .tap(({ id }, { attempt }) => looked.push(`${id} ${attempt}`))
      .flatMap(({ id, skus }) => skus.map((sku) => ({ id, sku })))
      .map(async (line) => ({ ...line, sku: line.sku.toUpperCase() }))
      .to(lines),
  )
  expect(orders.bindings).toHaveLength(1)
  await using kit = await kitOf(orders)
  await kit.send(placed, order('a', 100, 'apple', 'pear'))
  await kit.send(placed, order('b', 0, 'fig'))
  await kit.send(placed, order('c', 5))
  await kit.settled()
  expect((await kit.outputs(lines)).map(({ payload, key }) => [payload.sku, key])).toEqual([
    ['APPLE', 'a'],
    ['PEAR', 'a'],
  ])
  expect(looked).toEqual(['a 1', 'c 1'])
  expect(kit.deadLetters(placed, 'orders')).toEqual([])
})

test('a message that comes again gives the same messages', async () => {
  await using kit = await kitOf(
    pipeline(
      'orders',
      from(placed)
        .flatMap(({ skus }) => skus)
        .to(reviews),
    ),
  )
  await kit.send(placed, order('a', 1, 'x', 'y'), { id: 'm-1' })
  await kit.duplicate('m-1')
  await kit.settled()
  const ids = (await kit.outputs(reviews)).map(({ id }) => id)
  expect(ids).toHaveLength(4)
  expect(new Set(ids).size).toBe(2)
})

test('the key is that of the input, else of the channel, and keyBy wins over both', async () => {
  const flow = from(placed).branch({
    plain: { when: ({ id }) => id === 'a', to: (orders) => orders.map(({ id }) => id).to(reviews) },
    own: { when: ({ id }) => id === 'b', to: (orders) => orders.map(({ id }) => id).to(texts) },
    chosen: {
      to: (orders) =>
        orders
          .keyBy(({ cents }) => `c${cents}`)
          .map(({ id }) => id)
          .to(texts),
    },
  })
  await using kit = await kitOf(pipeline('keys', flow.to(reviews)))
  for (const id of ['a', 'b', 'c']) await kit.send(placed, order(id, 7))
  await kit.settled()
  expect((await kit.outputs(reviews)).map(({ key }) => key)).toEqual(['a'])
  expect((await kit.outputs(texts)).map(({ key }) => key)).toEqual(['text b', 'c7'])
})

test('the first way that accepts a message gets it, and open ones continue', async () => {
  const flow = from(placed)
    .branch({
      large: { when: ({ cents }) => cents > 100, to: (orders) => orders.map(({ id }) => `review ${id}`).to(reviews) },
      medium: { when: async ({ cents }) => cents > 10, to: (orders) => orders.map(({ id }) => `medium ${id}`) },
      small: { when: ({ cents }) => cents > 1, to: (orders) => orders.map(({ id }) => `small ${id}`) },
    })
    .map((text) => `${text}!`)
    .to(texts)
  await using kit = await kitOf(pipeline('branches', flow))
  for (const [id, cents] of [
    ['a', 500],
    ['b', 50],
    ['c', 5],
    ['d', 0],
  ] as const)
    await kit.send(placed, order(id, cents))
  await kit.settled()
  expect((await kit.outputs(reviews)).map(({ payload }) => payload)).toEqual(['review a'])
  expect((await kit.outputs(texts)).map(({ payload }) => payload)).toEqual(['medium b!', 'small c!'])
})

test('through splits the pipeline: each part has attempts and dead letters of its own', async () => {
  let shipped = 0
  const orders = pipeline(
    'orders',
    from(placed)
      .flatMap(({ id, skus }) => skus.map((sku) => ({ id, sku })))
      .through(lines, { group: 'packers', maxAttempts: 1 })
      .forEach(({ sku }) => {
        if (sku === 'unicorn') throw new TerminalError('no such product')
        shipped++
      }),
  )
  expect(orders.bindings.map((binding) => binding.kind)).toEqual(['processor', 'processor'])
  await using kit = await kitOf(orders)
  await kit.send(placed, order('a', 100, 'apple', 'unicorn'))
  await kit.settled()
  expect(shipped).toBe(1)
  expect(kit.deadLetters(lines, 'packers').map(({ error }) => error.message)).toEqual(['no such product'])
  expect(kit.deadLetters(placed, 'orders')).toEqual([])
})

test('a way of a branch may split too', async () => {
  const got: string[] = []
  const flow = from(placed).branch({
    large: {
      when: ({ cents }) => cents > 100,
      to: (f) =>
        f
          .map(({ id }) => id)
          .through(reviews)
          .forEach((id) => got.push(id)),
    },
    rest: { to: (f) => f.map(({ id }) => id).to(texts) },
  })
  await using kit = await kitOf(
    pipeline(
      'branches',
      flow.forEach(() => undefined),
    ),
  )
  await kit.send(placed, order('a', 500))
  await kit.send(placed, order('b', 5))
  await kit.settled()
  expect(got).toEqual(['a'])
  expect((await kit.outputs(texts)).map(({ payload }) => payload)).toEqual(['b'])
})

test('behind a split, options keep their values except for the name', () => {
  const given = { once: true, group: 'g', name: 'first', maxAttempts: 7 } as const
  const flow = from(placed, given)
    .map(({ id }) => id)
    .through(reviews, { maxAttempts: 2, group: undefined })
  const [first, second] = pipeline(
    'p',
    flow.forEach(() => undefined),
  ).bindings
  expect(first?.options).toMatchObject({ group: 'g', name: 'first', maxAttempts: 7 })
  expect(second?.options).toMatchObject({ group: 'g', maxAttempts: 2 })
  expect(second?.options).not.toHaveProperty('name')
  expect(second?.options).toHaveProperty('once', true)
})

test('a part behind a split that says how it is applied once replaces what it inherits', () => {
  const inbox = { hasOutbox: true, process: () => Promise.resolve('processed' as const) }
  const optionsOf = (flow: ReturnType<typeof inherited>) =>
    pipeline(
      'p',
      flow.forEach(() => 1),
    ).bindings[1]?.options
  const inherited = (before: { inbox: typeof inbox } | { once: true }, own: { inbox: typeof inbox } | { once: true }) =>
    from(placed, before)
      .map(({ id }) => id)
      .through(reviews, own)
  const toService = optionsOf(inherited({ inbox }, { once: true }))
  expect(toService).toMatchObject({ once: true })
  expect(toService).not.toHaveProperty('inbox')
  const toInbox = optionsOf(inherited({ once: true }, { inbox }))
  expect(toInbox).toMatchObject({ inbox })
  expect(toInbox).not.toHaveProperty('once')
})

test('a filter with a truthy constant lets everything through, as in a list', async () => {
  const flow = from(placed).filter(({ skus }) => skus.length as unknown as boolean)
  await using kit = await kitOf(pipeline('p', flow.map(({ id }) => id).to(reviews)))
  await kit.send(placed, order('a', 1, 'x'))
  await kit.send(placed, order('b', 1))
  await kit.settled()
  expect((await kit.outputs(reviews)).map(({ payload }) => payload)).toEqual(['a'])
})

test.each<[string, () => unknown, string]>([
  ['a name that is none', () => pipeline('a b', from(placed).to(placed)), 'pipeline: expected'],
  ['a flow that is open', () => pipeline('p', from(placed) as never), 'pipeline("p"): expected a flow that ends'],
  [
    'an option that is unknown',
    () => pipeline('p', from(placed).to(placed), { sql: 1 } as never),
    'pipeline("p").sql: expected one of schema',
  ],
  ['no channel', () => from('orders' as never), 'from: expected what defineChannel returned, got "orders"'],
  [
    'no function',
    () => from(placed).map(1 as never),
    'from("orders.placed") stage 1: map: expected a function, got a number',
  ],
  [
    'a branch without ways',
    () => from(placed).branch({}),
    'from("orders.placed") stage 1: branch: expected at least one way',
  ],
  [
    'a way that is misspelt',
    () => from(placed).branch({ a: { wen: 1, to: 1 } as never }),
    'branch.a.wen: expected one of when, to, got "wen". Did you mean "when"?',
  ],
  [
    'a way behind one that takes all',
    () => from(placed).branch({ a: { to: (f) => f }, b: { to: (f) => f } }),
    'branch.a.when: expected a function',
  ],
  [
    'a way that returns nothing',
    () => from(placed).branch({ a: { to: () => undefined as never } }),
    'branch.a.to: expected a function that returns the flow',
  ],
  [
    'a split in an open way',
    () => from(placed).branch({ a: { to: (f) => f.through(placed) } }),
    'branch.a.to: expected a way with through to end',
  ],
  [
    'a channel that is read twice',
    () => pipeline('p', from(placed).through(placed).to(placed)),
    'pipeline("p").through: expected a channel that no other part of the pipeline reads, got "orders.placed"',
  ],
  [
    'a window without an end',
    () => from(placed, { once: true }).window({}),
    'window.count: expected count, everyMs or both',
  ],
  [
    'a window with half a fold',
    () => from(placed, { once: true }).window({ count: 1, initial: () => 1 } as never),
    'window.add: expected a function',
  ],
  [
    'a window of no message',
    () => from(placed, { once: true }).window({ count: 0 }),
    'window.count: expected a whole number >= 1 and <= 1000000000, got 0',
  ],
  [
    'a window without sql',
    () =>
      pipeline(
        'p',
        (from(placed) as never as ReturnType<typeof withInbox>).window({ count: 1 }).forEach(() => 1),
      ),
    'pipeline("p").window("window"): expected from(channel, { once: true }) in a service with sql',
  ],
  [
    'a window whose timers could be those of another pipeline',
    () => withInbox().window({ name: 'b.c', count: 1 }),
    'window.name: expected a name of 1 to 80 characters out of A-Z a-z 0-9 _ -, got "b.c"',
  ],
  [
    'two windows of one name',
    () =>
      pipeline(
        'p',
        withInbox()
          .window({ count: 1 })
          .window({ count: 1 })
          .forEach(() => 1),
      ),
    'pipeline("p").window.name: expected a name of its own for each window of a pipeline, got "window"',
  ],
  [
    'two pipelines of one name, whose windows would be one',
    () => {
      const two = [placed, defineChannel('elsewhere', { payload: Order })].map((channel, n) =>
        pipeline(
          'p',
          from(channel, { group: `g${n}` }).forEach(() => 1),
        ),
      )
      createBinder({
        service: 's',
        transport: memoryTransport(),
        bindings: two.flatMap(({ bindings }) => bindings),
      })
    },
    'createBinder.bindings: expected a name of its own for each pipeline, got "pipeline p"',
  ],
])('a pipeline refuses %s', (_, declare, message) => {
  expect(declare).toThrow(message)
})

function withInbox() {
  return from(placed, { once: true })
}

test('an undefined option is the same as a missing one', () => {
  const withInbox = { once: true, group: undefined, sharesTransactions: undefined } as const
  const bindings = [
    ...pipeline(
      'plain',
      from(placed, { group: undefined }).forEach(() => 1),
    ).bindings,
    ...pipeline(
      'windows',
      from(placed, withInbox)
        .window({ count: 1, everyMs: 1_000 })
        .forEach(() => 1),
    ).bindings,
  ].map(({ options }) => options as { group?: string; sharesTransactions?: boolean })
  expect(bindings.map(({ group }) => group)).toEqual(['plain', 'windows', 'windows'])
  expect(bindings.map(({ sharesTransactions }) => sharesTransactions)).toEqual([undefined, false, false])
})

test('the channel of timers has the group that reads it, and no other', () => {
  const { bindings } = pipeline(
    'windows',
    from(placed, { once: true, group: 'mine' })
      .window({ everyMs: 1_000 })
      .forEach(() => 1),
  )
  const [stages, timers] = bindings as unknown as ReadonlyArray<{
    input: { groups: readonly string[] }
    outputs: unknown[]
  }>
  expect(timers?.input.groups).toEqual(['mine'])
  expect(stages?.outputs).toMatchObject([{ name: 'windows.window.timers', groups: ['mine'] }])
})
