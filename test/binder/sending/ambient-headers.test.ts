import { PGlite } from '@electric-sql/pglite'
import {
  createBinder,
  defineChannel,
  type Headers,
  processor,
  processorBatch,
  produced,
  several,
  sink,
  source,
} from 'concordat/binder'
import { textCodec } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { currentLease, leaseFromHeaders, leaseHeaders } from 'concordat/locks'
import { memoryLocks, memoryTransport } from 'concordat/memory'
import { createInbox, createOutbox } from 'concordat/outbox'
import { afterEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { gate, until } from '../../support/until.ts'

const orders = defineChannel('orders', { payload: z.object({ n: z.number() }), partitions: 1 })
const parts = defineChannel('parts', { payload: z.object({ n: z.number() }), partitions: 1 })
const notes = defineChannel('notes', { payload: z.string(), codec: textCodec, partitions: 1 })

const open: AsyncDisposable[] = []
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each[Symbol.asyncDispose]()
})

/** Sinks that keep their messages. `all(n)` resolves with the headers of the first n messages. */
function seen() {
  const headers: Headers[] = []
  const contexts: unknown[] = []
  const waiting: Array<() => void> = []
  const handler = (_payload: unknown, context: { headers: Headers }): void => {
    headers.push(context.headers)
    contexts.push(currentLease())
    for (const wake of waiting.splice(0)) wake()
  }
  const all = async (count: number): Promise<readonly Headers[]> => {
    while (headers.length < count) await new Promise<void>((resolve) => waiting.push(resolve))
    return headers
  }
  return { handler, all, contexts }
}

function setup() {
  const locks = memoryLocks()
  open.push(locks)
  return { locks }
}

async function started(bindings: readonly unknown[], headers: () => Headers | undefined = () => leaseHeaders()) {
  const binder = createBinder({
    service: 'shop',
    transport: memoryTransport(),
    bindings: bindings as never,
    headers,
  })
  open.push(binder)
  await binder.start()
  await binder.ready()
  return binder
}

describe('the headers option of a binder', () => {
  it('adds the lock of the sender in send and sendBatch, and nothing outside of one', async () => {
    const { locks } = setup()
    const got = seen()
    const binder = await started([sink(orders, { group: 'g' }, got.handler)])
    await binder.send(orders, { n: 0 })
    const token = await locks.using('a', {}, async (lease) => {
      await binder.send(orders, { n: 1 })
      await binder.sendBatch(orders, [{ n: 2 }, { n: 3 }])
      return lease.token
    })
    const held = { 'lock-key': 'a', 'lock-token': String(token) }
    expect(await got.all(4)).toEqual([{}, held, held, held])
  })

  it('leaves headers given with the message as they are, and adds the rest', async () => {
    const { locks } = setup()
    const got = seen()
    const binder = await started([sink(orders, { group: 'g' }, got.handler)])
    await locks.using('a', {}, async (lease) => {
      await binder.send(orders, { n: 1 }, { headers: { 'lock-token': 'mine', other: 'x' } })
      expect(await got.all(1)).toEqual([{ 'lock-key': 'a', 'lock-token': 'mine', other: 'x' }])
      await binder.send(orders, { n: 1 }, { headers: leaseHeaders({ key: 'b', token: 7 }) })
      expect((await got.all(2))[1]).toEqual({ 'lock-key': 'b', 'lock-token': '7' })
      expect(lease.state).toBe('held')
    })
  })

  it('does not make the lock of the sender that of the handler', async () => {
    const { locks } = setup()
    const got = seen()
    const binder = await started([sink(orders, { group: 'g' }, got.handler)])
    await locks.using('a', {}, async () => {
      await binder.send(orders, { n: 1 })
      await got.all(1)
    })
    expect(got.contexts).toEqual([undefined])
  })

  it('adds the lock under which a processor made its outputs, though it is released by then', async () => {
    const { locks } = setup()
    const got = seen()
    const tokens: number[] = []
    const make = processor(orders, parts, { group: 'g' }, ({ n }) =>
      locks.using(`order:${n}`, {}, async (lease) => {
        tokens.push(lease.token)
        return n === 3 ? several([{ n: 31 }, { n: 32 }]) : { n }
      }),
    )
    const binder = await started([make, sink(parts, { group: 'g' }, got.handler)])
    await binder.send(orders, { n: 1 })
    await binder.send(orders, { n: 3 })
    const headers = await got.all(3)
    expect(headers.map((each) => leaseFromHeaders(each))).toEqual([
      { key: 'order:1', token: tokens[0] },
      { key: 'order:3', token: tokens[1] },
      { key: 'order:3', token: tokens[1] },
    ])
  })

  it('keeps apart the outputs of one handler that were made under different locks, or under none', async () => {
    const { locks } = setup()
    const got = seen()
    const make = processor(orders, notes, { group: 'g' }, async () => {
      const a = await locks.using('a', {}, async () => 'under a')
      const b = await locks.using('b', {}, async () => 'under b')
      return several([a, b, 'free'])
    })
    const binder = await started([make, sink(notes, { group: 'g' }, got.handler)])
    await binder.send(orders, { n: 1 })
    expect((await got.all(3)).map((each) => leaseFromHeaders(each)?.key)).toEqual(['a', 'b', undefined])
  })

  it('keeps apart the outputs of a batch that were made under different locks, or under none', async () => {
    const { locks } = setup()
    const got = seen()
    const options = { group: 'g', batch: { maxSize: 3, maxWaitMs: 200 } }
    const make = processorBatch(orders, notes, options, (items) =>
      Promise.allSettled(
        items.map(async ({ payload: { n } }) =>
          n === 0 ? 'free' : locks.using(`n:${n}`, {}, async () => `under ${n}`),
        ),
      ),
    )
    const all = processorBatch(notes, parts, options, (items) =>
      locks.using('all', {}, async () => items.map((_, n) => produced({ n }))),
    )
    const last = seen()
    const binder = await started([make, all, sink(notes, { group: 'h' }, got.handler), sink(parts, {}, last.handler)])
    await binder.sendBatch(orders, [{ n: 0 }, { n: 1 }, { n: 2 }])
    const keys = (headers: readonly Headers[]) => headers.map((each) => leaseFromHeaders(each)?.key)
    expect(keys(await got.all(3))).toEqual([undefined, 'n:1', 'n:2'])
    expect(keys(await last.all(3))).toEqual(['all', 'all', 'all'])
  })

  it('adds them to the messages of a source', async () => {
    const { locks } = setup()
    const got = seen()
    const stock = [{ n: 1 }]
    const poll = source(orders, { everyMs: 10 }, () => locks.using('poll', {}, async () => stock.shift()))
    await started([poll, sink(orders, { group: 'g' }, got.handler)])
    expect((await got.all(1)).map((each) => leaseFromHeaders(each)?.key)).toEqual(['poll'])
  })

  it('rejects the send with an error that it throws, before anything is sent', async () => {
    const got = seen()
    const binder = await started([sink(orders, { group: 'g' }, got.handler)], () => {
      throw new Error('no headers today')
    })
    const failure = { code: 'binder.send', message: expect.stringContaining('no headers today') }
    await expect(binder.send(orders, { n: 1 })).rejects.toMatchObject(failure)
    await expect(binder.sendBatch(orders, [{ n: 1 }])).rejects.toMatchObject(failure)
  })

  const noHeaders: ReadonlyArray<readonly [what: string, headers: () => unknown, message: string]> = [
    ['an async function', async () => ({ a: 'b' }), 'got a promise: is an "await" missing?'],
    ['text', () => 'a=b', 'expected a function that returns an object of headers, or undefined, got a string'],
    ['null', () => null, 'got null'],
  ]
  it.for(noHeaders)('refuses %s, which would silently add nothing', async ([, headers, message]) => {
    const binder = await started([], headers as never)
    await expect(binder.send(orders, { n: 1 })).rejects.toThrow(message)
  })

  it('keeps the bounds of headers', async () => {
    let headers: unknown = { big: 'x'.repeat(20_000) }
    const binder = await started([], () => headers as Headers)
    await expect(binder.send(orders, { n: 1 })).rejects.toThrow('at most 16384 bytes')
    headers = { 'concordat-forged': 'x' }
    await expect(binder.send(orders, { n: 1 })).rejects.toThrow('reserved prefix')
    headers = undefined
    await binder.send(orders, { n: 1 })
  })

  it('makes a dead letter of a processor whose headers fail', async () => {
    const { locks } = setup()
    const dead = gate()
    const make = processor(orders, parts, { group: 'g', maxAttempts: 1 }, ({ n }) =>
      locks.using('a', {}, () => ({ n })),
    )
    const letters = defineChannel('orders.g.dlq', { payload: z.unknown(), partitions: 1, groups: ['redrive'] })
    const binder = await started([make, sink(letters, { group: 'redrive' }, () => dead.open())], () => {
      if (currentLease() !== undefined) throw new Error('not under a lock')
      return undefined
    })
    await binder.send(orders, { n: 1 })
    await dead.opened
  })
})

describe('the headers option of an outbox', () => {
  it('writes them into the rows, also for outputs of a processor with an inbox', async () => {
    const { locks } = setup()
    const sql = pgliteClient(await PGlite.create())
    const outbox = createOutbox({ sql, service: 'shop', headers: () => leaseHeaders() })
    const inbox = createInbox({ sql, outbox })
    await outbox.migrate()
    await inbox.migrate()
    const handled = gate()
    const rows = async (): Promise<readonly unknown[]> =>
      (await sql.query<{ headers: unknown }>('SELECT headers FROM concordat.outbox ORDER BY seq')).rows.map(
        ({ headers }) => headers,
      )
    const answer = processor(orders, parts, { group: 'g', inbox }, ({ n }) => locks.using('b', {}, () => ({ n })))
    const binder = await started([answer])
    const first = await locks.using('a', {}, async (lease) => {
      await sql.transaction((tx) => outbox.add(tx, orders, { n: 1 }, { headers: { own: 'x' } }))
      return lease.token
    })
    expect(await rows()).toEqual([{ 'lock-key': 'a', 'lock-token': String(first), own: 'x' }])
    await binder.send(orders, { n: 2 })
    await until('both are written', async () => (await rows()).length === 2)
    expect(await rows()).toEqual([
      { 'lock-key': 'a', 'lock-token': String(first), own: 'x' },
      { 'lock-key': 'b', 'lock-token': expect.stringMatching(/^[0-9]+$/) },
    ])
    handled.open()
  })

  it('leaves the transaction usable when they cannot be had', async () => {
    const sql = pgliteClient(await PGlite.create())
    let isBroken = true
    const outbox = createOutbox({
      sql,
      service: 'shop',
      headers: () => {
        if (isBroken) throw new Error('no headers today')
        return undefined
      },
    })
    await outbox.migrate()
    await sql.transaction(async (tx) => {
      await expect(outbox.add(tx, orders, { n: 1 })).rejects.toMatchObject({ code: 'binder.send' })
      isBroken = false
      await outbox.add(tx, orders, { n: 2 })
    })
    expect((await outbox.stats()).pending).toBe(1)
  })
})

it('a wrong headers option is refused by its name', () => {
  const transport = memoryTransport()
  const headers = { a: 'b' } as never
  expect(() => createBinder({ service: 'shop', transport, headers })).toThrow(
    'createBinder.headers: expected a function',
  )
})
