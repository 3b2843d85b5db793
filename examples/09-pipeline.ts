/** A pipeline: typed stages, a branch, and windows that count each message once. Run: npm run example 09 */
import { PGlite } from '@electric-sql/pglite'
import { defineChannel, sink } from 'concordat/binder'
import { pgliteClient } from 'concordat/core/pglite'
import { memoryTransport } from 'concordat/memory'
import { from, pipeline } from 'concordat/pipeline'
import { createService } from 'concordat/service'
import { z } from 'zod'

const Order = z.object({ id: z.string(), skus: z.array(z.string()), cents: z.number().int() })
const placed = defineChannel('orders.placed', { payload: Order, key: ({ id }) => id })
const reviews = defineChannel('orders.reviews', { payload: z.object({ id: z.string(), cents: z.number() }) })
const boxes = defineChannel('boxes', { payload: z.object({ sku: z.string(), orders: z.array(z.string()) }) })

const orders = pipeline(
  'orders',
  from(placed, { once: true }) // one transaction for all stages, windows and sent messages
    .filter(({ skus }) => skus.length > 0)
    .branch({
      large: { when: ({ cents }) => cents > 10_000, to: (large) => large.to(reviews) },
      rest: { to: (rest) => rest.flatMap(({ id, skus }) => skus.map((sku) => ({ id, sku }))) },
    })
    .window({ key: ({ sku }) => sku, count: 2, initial: (): string[] => [], add: (ids, { id }) => [...ids, id] })
    .map(({ key, value }) => ({ sku: key ?? '', orders: value }))
    .to(boxes),
)

const seen: string[] = []
const done = Promise.withResolvers<void>()
const see = (text: string): void => void (seen.push(text) === 3 && done.resolve())
const database = await PGlite.create()
const shop = createService({
  name: 'shop',
  sql: pgliteClient(database),
  transport: memoryTransport(),
  bindings: [
    ...orders.bindings,
    sink(reviews, { group: 'clerks' }, ({ id, cents }) => see(`review ${id}: ${cents} cents`)),
    sink(boxes, { group: 'packers' }, ({ sku, orders }) => see(`a box of ${sku} for ${orders.join(' and ')}`)),
  ],
  sends: [placed],
})
await shop.start()
await shop.send(placed, { id: 'o-1', skus: ['apple', 'pear'], cents: 300 }, { id: 'm-1' })
await shop.send(placed, { id: 'o-1', skus: ['apple', 'pear'], cents: 300 }, { id: 'm-1' }) // same id: counted once
await shop.send(placed, { id: 'o-2', skus: ['apple'], cents: 20_000 })
await shop.send(placed, { id: 'o-3', skus: ['pear', 'apple'], cents: 500 })
await done.promise
await shop.close()
await database.close()
console.log(seen.toSorted().join('\n'))

// Prints:
// a box of apple for o-1 and o-3
// a box of pear for o-1 and o-3
// review o-2: 20000 cents
