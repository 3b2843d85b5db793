/** Readers of dead letters: each failure of a message is a dead letter of its own, and nothing else is one. */
import {
  createBinder,
  deadLetterName,
  defineChannel,
  pollable,
  processor,
  redrive,
  sink,
  sinkBatch,
} from 'concordat/binder'
import { bytesCodec } from 'concordat/core'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { createInbox, createOutbox } from 'concordat/outbox'
import { describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { until } from '../support/until.ts'
import { uniqueName } from './support/messages.ts'
import { embedded, useEmbedded } from './support/pglite.ts'

useEmbedded()

const orders = defineChannel('orders', { payload: z.number(), key: () => 'k', groups: ['g'] })
const letters = defineChannel(deadLetterName('orders', 'g'), {
  payload: z.instanceof(Uint8Array),
  codec: bytesCodec,
  partitions: 1,
  groups: ['redrive', 'tickets'],
})
const tickets = defineChannel('tickets', { payload: z.string(), groups: ['admin'] })

async function setup() {
  const sql = embedded()
  const schema = uniqueName('letters')
  const outbox = createOutbox({ sql, service: 'shop', schema })
  await outbox.migrate()
  const inbox = createInbox({ sql, schema, outbox })
  await inbox.migrate()
  const heard: string[] = []
  const hear = (body: Uint8Array, headers: Readonly<Record<string, unknown>>): void =>
    void heard.push(`${Buffer.from(body).toString()} ${String(headers['dead-letter-error-message'])}`)
  return { inbox, heard, hear }
}

type Setup = Awaited<ReturnType<typeof setup>>

/** Creates a service whose handler of `orders` always fails, with a reader of its dead letters. */
async function serviceWith(reader: ReturnType<typeof sink> | ReturnType<typeof processor>, more: object[] = []) {
  const broker = memoryBroker()
  let failures = 0
  const failing = sink(orders, { group: 'g', maxAttempts: 1 }, () => {
    throw new Error(`failure ${++failures}`)
  })
  const transport = memoryTransport({ broker })
  const binder = createBinder({
    service: 'shop',
    transport,
    sends: [orders],
    bindings: [failing, reader, ...(more as [])],
  })
  onTestFinished(() => binder.close())
  await binder.start()
  const fails = async (count: number): Promise<void> => {
    await binder.send(orders, 7, { id: 'order-7' })
    await until(
      `it has failed ${count} times`,
      () => binder.binding('orders.g' as never).status().deadLettered === count,
    )
  }
  const redriven = () =>
    redrive({ service: 'operator', transport: memoryTransport({ broker }) }, orders as never, 'g', {
      perSecond: 10_000,
    })
  return { binder, fails, redriven }
}

const READERS = {
  'a sink': ({ inbox, hear }: Setup) =>
    sink(letters, { group: 'tickets', inbox }, async (body, { headers }) => hear(body, headers)),
  'a sink of batches': ({ inbox, hear }: Setup) =>
    sinkBatch(letters, { group: 'tickets', inbox }, async (items) => {
      for (const { payload, context } of items) hear(payload, context.headers)
    }),
} as const

describe.each(Object.entries(READERS))('%s with an inbox on the dead letters', (_, reader) => {
  test('handles each failure of a message that failed again under its id', async () => {
    const t = await setup()
    const { fails } = await serviceWith(reader(t) as never)
    await fails(1)
    await fails(2)
    await until('both failures are handled', () => t.heard.length === 2)
    expect(t.heard).toEqual(['7 failure 1', '7 failure 2'])
  })

  test('handles each failure of a message that was redriven, and no mark of a redrive', async () => {
    const t = await setup()
    const { binder, fails, redriven } = await serviceWith(reader(t) as never)
    await fails(1)
    await redriven()
    await until('it has failed again', () => binder.binding('orders.g' as never).status().deadLettered === 2)
    await until('both failures are handled', () => t.heard.length === 2)
    await until('the mark is settled', async () => (await binder.lag(`${letters.name}.tickets` as never)) === 0)
    expect(t.heard).toEqual(['7 failure 1', '7 failure 2'])
  })
})

test('an output of a dead letter has an id of its own for each failure', async () => {
  const t = await setup()
  const opening = processor(letters, tickets, { group: 'tickets' }, (_, { headers }) =>
    String(headers['dead-letter-error-message']),
  )
  const admin: string[] = []
  const reading = sink(tickets, { group: 'admin', inbox: t.inbox }, async (ticket) => void admin.push(ticket))
  const { fails } = await serviceWith(opening as never, [reading])
  await fails(1)
  await fails(2)
  await until('there are two tickets', () => admin.length === 2)
  expect(admin).toEqual(['failure 1', 'failure 2'])
})

const WITHOUT_INBOX = {
  'a sink': ({ hear }: Setup) => sink(letters, { group: 'tickets' }, (body, { headers }) => hear(body, headers)),
  'a sink of batches': ({ hear }: Setup) =>
    sinkBatch(letters, { group: 'tickets' }, (items) => {
      for (const { payload, context } of items) hear(payload, context.headers)
    }),
} as const

describe.each(Object.entries(WITHOUT_INBOX))('%s on the dead letters', (_, reader) => {
  test('is not called with the mark of a redrive', async () => {
    const t = await setup()
    const { binder, fails, redriven } = await serviceWith(reader(t) as never)
    await fails(1)
    await redriven()
    await until('both failures are handled', () => t.heard.length >= 2)
    await until('all is settled', async () => (await binder.lag(`${letters.name}.tickets` as never)) === 0)
    expect(t.heard).toHaveLength(2)
  })
})

test('a reader that polls the dead letters does not get the mark of a redrive', async () => {
  const t = await setup()
  const polled = pollable(letters, { group: 'tickets' })
  const { binder, fails, redriven } = await serviceWith(polled as never)
  await fails(1)
  await redriven()
  await until('it has failed again', () => binder.binding('orders.g' as never).status().deadLettered === 2)
  await until('all is settled', async () => {
    await binder.poll(polled as never, ((body: Uint8Array) => t.hear(body, {})) as never)
    return (await binder.lag(`${letters.name}.tickets` as never)) === 0
  })
  expect(t.heard).toHaveLength(2)
})
