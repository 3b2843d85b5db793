import { createBinder, defineChannel, into, route, several, to } from 'concordat/binder'
import { memoryTransport } from 'concordat/memory'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { until } from '../../support/until.ts'
import { keeper, running } from '../support/run.ts'

const Order = z.object({ id: z.string(), country: z.string() })
const orders = defineChannel('orders', { payload: Order, groups: ['sales'] })
const eu = defineChannel('orders.eu', { payload: z.object({ id: z.string() }), groups: ['keeper'] })
const group = 'sales'

describe('a route', () => {
  it('hands a message to the handler that its header names, else to the default', async () => {
    const seen: string[] = []
    const note = (name: string) => (order: { id: string }) => void seen.push(`${name} ${order.id}`)
    const sales = route(orders, {
      group,
      by: 'kind',
      routes: { new: note('new'), old: note('old') },
      default: note('else'),
    })
    const app = await running({ bindings: [sales] })
    for (const [id, kind] of [
      ['1', 'new'],
      ['2', 'old'],
      ['3', 'constructor'],
    ] as const)
      await app.send(orders, { id, country: 'de' }, { headers: { kind } })
    await app.send(orders, { id: '4', country: 'de' })
    await until('all came', () => seen.length === 4)
    expect(seen.toSorted((a, b) => a.localeCompare(b))).toEqual(['else 3', 'else 4', 'new 1', 'old 2'])
  })

  it('may be chosen by payload and context, also asynchronously', async () => {
    const seen: string[] = []
    const sales = route(orders, {
      group,
      by: async ({ country }, { key }) => `${country}${key === 'k' ? '!' : ''}`,
      routes: { 'de!': ({ id }) => void seen.push(id) },
      default: 'discard',
    })
    const app = await running({ bindings: [sales] })
    await app.send(orders, { id: '1', country: 'de' })
    await app.send(orders, { id: '2', country: 'de' }, { key: 'k' })
    await until('it came', () => seen.length === 1)
    expect(seen).toEqual(['2'])
    await until('the other was discarded', () => app.binding('orders.sales').status().discarded === 1)
    expect(app.binding('orders.sales').status()).toMatchObject({ handled: 1, dropped: 0, deadLettered: 0 })
  })

  it('a message for an unknown route fails permanently and is not dropped silently', async () => {
    const letters = keeper(defineChannel('orders.sales.dlq', { payload: Order, partitions: 1 }))
    const sales = route(orders, { group, by: 'kind', routes: { new: () => {} } })
    const app = await running({ bindings: [sales, letters.binding] })
    await app.send(orders, { id: '1', country: 'de' }, { headers: { kind: 'odd' } })
    await until('it is dead-lettered', () => letters.got.length === 1)
    expect(letters.got[0]?.headers).toMatchObject({
      'dead-letter-attempts': 1,
      'dead-letter-error-code': 'binder.no_route',
      'dead-letter-error-message': `no route "odd" on "orders": there are new; add it, or a \`default\` handler or 'discard'`,
    })
  })

  it('sends the result of a handler into the channel of its route', async () => {
    const { got, binding } = keeper(eu)
    const seen: string[] = []
    const sales = route(orders, {
      group,
      by: ({ country }) => country,
      routes: {
        de: into(eu, ({ id }) => ({ id })),
        fr: into(eu, ({ id }) => several([{ id }, to('orders.fr', { id })])),
        us: ({ id }) => void seen.push(id),
        it: into(eu, () => undefined),
      },
    })
    const fr = keeper({ ...eu, name: 'orders.fr' })
    const app = await running({ bindings: [sales, binding, fr.binding] })
    for (const country of ['de', 'fr', 'us', 'it']) await app.send(orders, { id: country, country })
    await until('all were handled', () => app.binding('orders.sales').status().handled === 4)
    await until('the outputs came', () => got.length === 2 && fr.got.length === 1)
    expect(got.map(({ payload }) => payload.id).toSorted((a, b) => a.localeCompare(b))).toEqual(['de', 'fr'])
    expect(seen).toEqual(['us'])
    expect(new Set([...got, ...fr.got].map(({ id }) => id)).size).toBe(3)
  })

  it.for([
    [undefined, 'route("orders"): expected an object of options, got undefined'],
    [{ group, routes: { a: () => {} } }, 'route("orders").by: expected a non-empty string, got undefined'],
    [{ group, by: 'kind', routes: {} }, 'route("orders").routes: expected an object with a handler per name'],
    [
      { group, by: 'kind', routes: { a: 1 } },
      'route("orders").routes.a: expected a handler, or into(channel, handler)',
    ],
    [
      { group, by: 'kind', routes: { a: () => {} }, default: 'drop' },
      `route("orders").default: expected a handler or 'discard'`,
    ],
  ] as const)('refuses %o', ([options, message]) => {
    expect(() => route(orders, options as never)).toThrow(message)
  })

  it('refuses options that a sink refuses', () => {
    const sales = route(orders, { group, by: 'kind', routes: { a: () => {} }, concurency: 2 } as never)
    expect(() => createBinder({ service: 's', transport: memoryTransport(), bindings: [sales] })).toThrow(
      'Did you mean "concurrency"?',
    )
  })
})
