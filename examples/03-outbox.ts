/** An outbox: a message is sent if and only if the database transaction commits. Run: npm run example 03 */
import { PGlite } from '@electric-sql/pglite'
import { defineChannel, sink } from 'concordat/binder'
import { pgliteClient } from 'concordat/core/pglite'
import { memoryTransport } from 'concordat/memory'
import { createService } from 'concordat/service'
import { z } from 'zod'

const orderPlaced = defineChannel('orders.placed', {
  payload: z.object({ orderId: z.string(), cents: z.number().int() }),
  key: ({ orderId }) => orderId,
})

const database = await PGlite.create()
const sql = pgliteClient(database) // in production: pgClient(pool)
await sql.query('CREATE TABLE orders (id text PRIMARY KEY, cents int NOT NULL CHECK (cents > 0))')
await sql.query('CREATE TABLE revenue (cents int NOT NULL)')

const counted = Promise.withResolvers<void>()
const shop = createService({
  name: 'shop',
  sql,
  transport: memoryTransport(),
  bindings: [
    // With an inbox, the effect in `tx` happens once, even if the message is delivered more than once.
    sink(orderPlaced, { group: 'accounting', once: true }, async ({ cents }, { tx }) => {
      await tx.query('INSERT INTO revenue VALUES ($1)', [cents])
      counted.resolve()
    }),
  ],
  sends: [orderPlaced],
})
await shop.start()

async function place(orderId: string, cents: number): Promise<void> {
  await shop.transaction(async (tx) => {
    await tx.send(orderPlaced, { orderId, cents })
    await tx.query('INSERT INTO orders VALUES ($1, $2)', [orderId, cents])
  })
}
await place('o-1', -5).catch((error: Error) => console.log(`o-1: ${error.message}`)) // sends nothing
await place('o-2', 4_200)
await counted.promise
await shop.close()
const { rows } = await sql.query<{ sum: string }>('SELECT sum(cents) FROM revenue')
console.log(`revenue: ${rows[0]?.sum} cents`)
await database.close()

// Prints:
// o-1: new row for relation "orders" violates check constraint "orders_cents_check"
// revenue: 4200 cents
