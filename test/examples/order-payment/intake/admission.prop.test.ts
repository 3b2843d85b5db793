import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Outcome } from '../../../../examples/order-payment/contracts.ts'
import { Admission, type Demand } from '../../../../examples/order-payment/intake/admission.ts'
import { inputs } from '../../../support/suite/night.ts'

const SKUS = ['apple', 'pear', 'plum', 'unknown']

interface Line extends Demand {
  readonly badCard: boolean
}

const lines = fc
  .array(
    fc.record({
      orderId: fc.integer({ min: 1, max: 30 }),
      customer: fc.constantFrom('a', 'b', 'c'),
      amountCents: fc.integer({ min: 0, max: 12 }),
      badCard: fc.boolean(),
      items: fc.uniqueArray(fc.record({ sku: fc.constantFrom(...SKUS), quantity: fc.integer({ min: 1, max: 4 }) }), {
        minLength: 1,
        maxLength: 3,
        selector: ({ sku }) => sku,
      }),
    }),
    { maxLength: 40 },
  )
  .map((drafts) => drafts.map((draft, i): Line => ({ ...draft, line: i + 1, orderId: `o-${draft.orderId}` })))

const opening = fc.record({
  accounts: fc.record({ a: fc.nat(40), b: fc.nat(40), c: fc.nat(40) }).map((all) => new Map(Object.entries(all))),
  stock: fc
    .record({ apple: fc.nat(15), pear: fc.nat(15), plum: fc.nat(15) })
    .map((all) => new Map(Object.entries(all))),
})

/** The services: reserve, charge and the end of an order are steps of their own, with those of others in between. */
class World {
  readonly #stock: Map<string, number>
  readonly #accounts: Map<string, number>
  readonly #seen = new Map<string, Line>()

  constructor({ stock, accounts }: { stock: ReadonlyMap<string, number>; accounts: ReadonlyMap<string, number> }) {
    this.#stock = new Map(stock)
    this.#accounts = new Map(accounts)
  }

  *handle(line: Line): Generator<undefined, Outcome> {
    const before = this.#seen.get(line.orderId)
    if (before !== undefined) return same(before, line) ? 'duplicate' : 'conflict'
    this.#seen.set(line.orderId, line)
    yield
    if (line.items.some(({ sku, quantity }) => (this.#stock.get(sku) ?? 0) < quantity)) return 'outOfStock'
    for (const { sku, quantity } of line.items) this.#stock.set(sku, (this.#stock.get(sku) ?? 0) - quantity)
    yield
    const balance = this.#accounts.get(line.customer) ?? 0
    if (line.badCard || line.amountCents > balance) {
      yield
      for (const { sku, quantity } of line.items) this.#stock.set(sku, (this.#stock.get(sku) ?? 0) + quantity)
      yield
      return 'declined'
    }
    this.#accounts.set(line.customer, balance - line.amountCents)
    yield
    return 'confirmed'
  }
}

function same(a: Line, b: Line): boolean {
  return JSON.stringify({ ...a, line: 0 }) === JSON.stringify({ ...b, line: 0 })
}

test('orders handled together, in any interleaving, end as if handled one by one', () => {
  fc.assert(
    fc.property(
      lines,
      opening,
      fc.integer({ min: 1, max: 8 }),
      fc.infiniteStream(fc.nat()),
      (all, start, room, dice) => {
        const alone = new World(start)
        const expected = all.map((line) => run(alone.handle(line)))

        const world = new World(start)
        const admission = new Admission<Line>(start)
        const underWay: Array<{ line: Line; work: Generator<undefined, Outcome> }> = []
        const outcomes: Outcome[] = []
        for (const line of all) admission.offer(line)
        for (;;) {
          for (const line of admission.admit(room - underWay.length)) underWay.push({ line, work: world.handle(line) })
          if (underWay.length === 0) break
          const index = (dice.next().value ?? 0) % underWay.length
          const next = underWay[index]
          const step = next?.work.next()
          if (next === undefined || step?.done !== true) continue
          outcomes[next.line.line - 1] = step.value
          admission.settle(next.line.line, step.value)
          underWay.splice(index, 1)
        }
        expect(outcomes).toEqual(expected)
        expect(admission.waiting).toBe(0)
      },
    ),
    { numRuns: inputs(3_000) },
  )
})

test('orders balance when the intake is killed at any moment and reads from the top, while other work continues', () => {
  const moments = fc.array(fc.nat(60), { maxLength: 4 })
  fc.assert(
    fc.property(
      lines,
      opening,
      fc.integer({ min: 1, max: 8 }),
      moments,
      fc.infiniteStream(fc.nat()),
      (all, start, room, kills, dice) => {
        const alone = new World(start)
        const expected = all.map((line) => run(alone.handle(line)))

        const world = new World(start)
        /** The orders service: survives the kill, knows each line it was given, answers again. */
        const known = new Map<number, { line: Line; work: Generator<undefined, Outcome>; outcome?: Outcome }>()
        const intake = (): Admission<Line> => {
          const admission = new Admission<Line>(start)
          for (const line of all) admission.offer(line)
          return admission
        }
        let admission = intake()
        const dying = [...kills]
        for (let step = 0; ; step++) {
          for (const line of admission.admit(room - admission.underWay)) {
            const before = known.get(line.line)
            if (before === undefined) known.set(line.line, { line, work: world.handle(line) })
            else if (before.outcome !== undefined) admission.settle(line.line, before.outcome)
          }
          const open = [...known.values()].filter(({ outcome }) => outcome === undefined)
          if (open.length === 0 && admission.waiting + admission.underWay === 0) break
          const next = open[(dice.next().value ?? 0) % Math.max(1, open.length)]
          const done = next?.work.next()
          if (next !== undefined && done?.done === true) {
            next.outcome = done.value
            admission.settle(next.line.line, done.value)
          }
          if (step === dying[0]) {
            dying.shift()
            admission = intake()
          }
        }
        expect(all.map(({ line }) => known.get(line)?.outcome)).toEqual(expected)
      },
    ),
    { numRuns: inputs(3_000) },
  )
})

test('orders that do not compete go together', () => {
  const admission = new Admission<Demand>({ accounts: new Map([['a', 100]]), stock: new Map([['apple', 100]]) })
  for (let line = 1; line <= 10; line++) {
    admission.offer({
      line,
      orderId: `o-${line}`,
      customer: 'a',
      amountCents: 5,
      items: [{ sku: 'apple', quantity: 5 }],
    })
  }
  expect(admission.admit(Number.POSITIVE_INFINITY)).toHaveLength(10)
})

function run(work: Generator<undefined, Outcome>): Outcome {
  for (;;) {
    const step = work.next()
    if (step.done === true) return step.value
  }
}
