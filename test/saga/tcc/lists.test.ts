/** Lists whose items are reserved first, and confirmed together when the saga is decided. */
import { createBinder } from 'concordat/binder'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { createRelay } from 'concordat/outbox'
import { defineSaga, Refusal, sagaReplies } from 'concordat/saga'
import { tccParticipant } from 'concordat/saga/tcc'
import { explore } from 'concordat/testing'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { closeEmbedded, FAST, openEmbedded, setupWorld, stockCommands } from '../support/world.ts'

const Input = z.object({ skus: z.array(z.string()), refuse: z.boolean() })
const input = { skus: ['a', 'b', 'c'], refuse: false }
const within = { timeoutMs: 30_000 }
const times = { timeoutMs: 5_000, retry: FAST, confirmRetry: FAST, compensationRetry: FAST }
const closing: Array<() => Promise<void>> = []
const over = ({ input }: { readonly input: { readonly skus: readonly string[] } }) => input.skus

beforeAll(openEmbedded, 120_000)
afterAll(closeEmbedded)
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

/** Three items here, the same three in another service, and then a step that may refuse. */
async function setup(name: string) {
  const calls: string[] = []
  const saga = defineSaga(name, { version: 1, input: Input })
    .each('hold', {
      ...times,
      over,
      try: ({ item, index, key }) => {
        calls.push(`try ${item} ${key.split('/').at(-1)}`)
        return { index }
      },
      confirm: ({ item, result }) => void calls.push(`confirm ${item} ${result.index}`),
      cancel: ({ item, result, tried }) => void calls.push(`cancel ${item} ${result?.index} ${tried}`),
    })
    .each('reserve', {
      ...times,
      over,
      atOnce: 3,
      tcc: true,
      to: stockCommands,
      request: ({ item, index }) => ({ sku: item, n: index }),
      reply: z.object({ left: z.number() }),
    })
    .step('check', {
      compensate: 'none',
      invoke: ({ input, results }) => {
        if (input.refuse) throw new Refusal('no', 'no')
        return { held: results.hold.length, left: results.reserve.map(({ left }) => left) }
      },
    })
  const world = await setupWorld({ sagas: [saga] })
  const { coordinator, outbox, stockOutbox, sql, stockSchema } = world
  const home = { group: 'stock', sql, outbox: stockOutbox, schema: stockSchema.replaceAll('"', ''), backoff: FAST }
  const side = tccParticipant(stockCommands, home, {
    try: ({ sku, n }) => {
      calls.push(`try there ${sku}`)
      return { left: n }
    },
    confirm: ({ sku }) => void calls.push(`confirm there ${sku}`),
    cancel: ({ sku }) => void calls.push(`cancel there ${sku}`),
  })
  const broker = memoryBroker()
  const { bindings, channels } = coordinator
  const binders = [
    createBinder({ service: 'orders', transport: memoryTransport({ broker }), bindings, sends: channels }),
    createBinder({
      service: 'stock',
      transport: memoryTransport({ broker }),
      bindings: [side],
      sends: [sagaReplies('orders')],
    }),
  ] as const
  const relays = [
    createRelay({ outbox, publisher: binders[0], idlePollMs: 20 }),
    createRelay({ outbox: stockOutbox, publisher: binders[1], idlePollMs: 20 }),
  ]
  for (const part of [...binders, ...relays]) await part.start()
  await coordinator.run()
  for (const part of [coordinator, ...binders, ...relays]) closing.push(() => part.close())
  return { calls, coordinator, saga }
}

test('all items are confirmed, each once, when the saga is decided', async () => {
  const { calls, coordinator, saga } = await setup('all')
  const outcome = await (await coordinator.start(saga, { id: 'x', input })).outcome(within)
  expect(outcome).toMatchObject({ status: 'completed', results: { check: { held: 3, left: [0, 1, 2] } } })
  expect(calls.slice(0, 3)).toEqual(['try a hold[0]', 'try b hold[1]', 'try c hold[2]'])
  expect(calls.slice(3, 6).toSorted()).toEqual(['try there a', 'try there b', 'try there c'])
  const confirmed = ['a', 'b', 'c'].flatMap((sku, n) => [`confirm ${sku} ${n}`, `confirm there ${sku}`])
  expect(calls.slice(6).toSorted()).toEqual(confirmed.toSorted())
})

test('all items are cancelled, the last first, when the saga turns back', async () => {
  const { calls, coordinator, saga } = await setup('none')
  const run = await coordinator.start(saga, { id: 'x', input: { ...input, refuse: true } })
  expect(await run.outcome(within)).toMatchObject({ status: 'compensated', failure: { code: 'no' } })
  const there = ['cancel there c', 'cancel there b', 'cancel there a']
  expect(calls.slice(6)).toEqual([...there, 'cancel c 2 true', 'cancel b 1 true', 'cancel a 0 true'])
})

test('a list of reservations has no bad end under any fault or pair of faults, with a pivot and without, in a group and out of one', () => {
  const items = { over: () => ['a'], atOnce: 2 }
  const here = { ...items, try: () => 1, confirm: () => {}, cancel: () => {} }
  const there = { ...items, tcc: true, to: stockCommands, request: () => ({ sku: 's', n: 1 }) } as const
  const base = defineSaga('explored', { version: 1, input: Input }).each('one', here)
  const plain = base.parallel((group) =>
    group.each('two', there).step('three', { invoke: () => 1, compensate: () => {} }),
  )
  const pivoted = base.each('two', there).step('pivot', { pivot: true, transactional: true, invoke: () => {} })
  for (const saga of [plain, pivoted]) {
    const explored = explore(saga)
    expect(explored.problems).toEqual([])
    expect(
      explored.runs.flatMap(({ faults }) => faults.map(({ step, operation }) => `${operation} ${step}`)),
    ).toContain('confirm two[1]')
  }
  expect(explore(pivoted, { faults: 2, items: 1 }).problems).toEqual([])
})

test('a list of reservations is before the pivot, not in a sub-saga that can be undone, and names missing or unknown parts', () => {
  const base = defineSaga('s', { version: 1, input: Input })
  const local = { over, try: () => 1, confirm: () => {}, cancel: () => {} }
  const pivoted = base.step('p', { pivot: true, invoke: () => 1 }) as unknown as typeof base
  expect(() => pivoted.each('late', local)).toThrow(/after the pivot nothing is cancelled/)
  const options = { saga: base.each('a', local), input: () => input }
  expect(() => base.saga('child', { ...options, compensate: true })).toThrow(/cannot be undone once it has completed/)
  expect(() => base.each('a', { ...local, cancel: undefined as never })).toThrow(
    /each\("a"\)\.cancel: expected a function/,
  )
  expect(() => base.each('a', { over, to: stockCommands, tcc: 1 } as never)).toThrow(/each\("a"\)\.tcc: expected true/)
  expect(() => base.each('a', { over, to: stockCommands, tcc: true } as never)).toThrow(/each\("a"\)\.request/)
  const graph = (kind: object) => base.each('a', kind as never).graphHash
  expect(graph(local)).not.toBe(graph({ over, invoke: () => 1, compensate: () => {} }))
})
