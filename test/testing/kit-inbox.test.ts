import { PGlite } from '@electric-sql/pglite'
import { defineChannel, pollable, processor, sink } from 'concordat/binder'
import { pgliteClient } from 'concordat/core/pglite'
import { participant } from 'concordat/saga'
import { createTestKit } from 'concordat/testing'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'

const Order = z.object({ orderId: z.string() })
const orders = defineChannel('orders', { payload: Order, key: ({ orderId }) => orderId })
const shipped = defineChannel('shipped', { payload: Order, key: ({ orderId }) => orderId })

describe('a test kit with bindings that need a service', { timeout: 60_000 }, () => {
  it('polls a `pollable` with `once: true` by its declaration, once for a repeated message', async () => {
    const seen: string[] = []
    const stock = pollable(orders, { group: 'stock', once: true })
    await using kit = await createTestKit({ bindings: [stock] })
    const poll = () =>
      kit.poll(stock, async ({ orderId }, { tx }) => {
        await tx.query('SELECT 1')
        seen.push(orderId)
      })
    const { id } = await kit.send(orders, { orderId: 'o-1' })
    expect(await poll()).toBe(true)
    await kit.duplicate(id)
    expect(await poll()).toBe(true)
    expect(await poll()).toBe(false)
    expect(seen).toEqual(['o-1'])
  })

  it('gives a handler with `once: true` a transaction, and applies a repeated message once', async () => {
    const seen: string[] = []
    const stock = sink(orders, { group: 'stock', once: true }, async ({ orderId }, { tx }) => {
      await tx.query('SELECT 1')
      seen.push(orderId)
    })
    await using kit = await createTestKit({ bindings: [stock] })
    kit.loseNextAck(orders)
    const { id } = await kit.send(orders, { orderId: 'o-1' })
    await kit.settled()
    await kit.duplicate(id)
    await kit.settled()
    expect(seen).toEqual(['o-1'])
  })

  it('publishes a processor’s messages of its transaction, and none of a failed one', async () => {
    let fails = true
    const ship = processor(orders, shipped, { group: 'shipping', once: true }, async (order) => {
      if (fails) {
        fails = false
        throw new Error('not yet')
      }
      return order
    })
    await using kit = await createTestKit({ bindings: [ship] })
    await kit.send(orders, { orderId: 'o-1' })
    await kit.settled()
    expect((await kit.outputs(shipped)).map(({ payload }) => payload)).toEqual([{ orderId: 'o-1' }])
  })

  it('takes the database of the test, and leaves it open', async () => {
    const database = await PGlite.create()
    onTestFinished(() => database.close())
    const sql = pgliteClient(database)
    await sql.query('CREATE TABLE stock (order_id text PRIMARY KEY)')
    const stock = sink(orders, { group: 'stock', once: true }, async ({ orderId }, { tx }) => {
      await tx.query('INSERT INTO stock VALUES ($1)', [orderId])
    })
    const kit = await createTestKit({ bindings: [stock], sql })
    await kit.send(orders, { orderId: 'o-1' })
    await kit.settled()
    await kit.close()
    expect((await sql.query('SELECT order_id FROM stock')).rows).toEqual([{ order_id: 'o-1' }])
  })

  it('takes a participant, which dead-letters a message that is no command of a saga', async () => {
    const commands = defineChannel('payments.commands', { payload: Order })
    const charge = participant(commands, { group: 'payments' }, { invoke: () => ({}), compensate: () => {} })
    await using kit = await createTestKit({ bindings: [charge] })
    await kit.send(commands, { orderId: 'o-1' })
    await kit.settled()
    // The message is no command of a saga, as the participant says in the dead letter.
    expect(kit.deadLetters(commands, 'payments')).toHaveLength(1)
  })
})
