import type { TransportDelivery } from 'concordat/extension'
import { describe, expect, it } from 'vitest'
import { type Lendable, Lending, type LendingEvents, type LoanSource } from './inside.ts'

interface Item extends Lendable {
  readonly n: number
}

/** Numbers in order, with what became of them. */
class Numbers implements LoanSource<Item> {
  readonly name: string
  readonly waiting: Item[]
  readonly settled: number[] = []

  constructor(name: string, count: number, bytes = 1) {
    this.name = name
    this.waiting = Array.from(
      { length: count },
      (_, n) => ({ n, bytes, redelivered: false, message: { id: `${n}` } }) as never,
    )
  }

  take(): Item | undefined {
    return this.waiting.shift()
  }

  positionOf({ n }: Item): string {
    return `${this.name} ${n}`
  }

  settle({ n }: Item): void {
    this.settled.push(n)
  }

  putBack(item: Item): void {
    this.waiting.push({ ...item, redelivered: true })
    this.waiting.sort((a, b) => a.n - b.n)
  }
}

function setup(limits: { prefetch?: number; prefetchBytes?: number } = {}, events: Partial<LendingEvents> = {}) {
  const lent: TransportDelivery[] = []
  const lending: Lending<Item> = new Lending(
    { prefetch: 3, prefetchBytes: 1_000, ...limits },
    { deliver: (delivery) => void lent.push(delivery), onRoom: () => lending.lend(), ...events },
  )
  const at = (position: string): TransportDelivery => {
    const found = lent.findLast((delivery) => delivery.position === position)
    if (found === undefined) throw new Error(`${position} is not lent`)
    return found
  }
  return { lending, lent, at, positions: () => lent.map(({ position }) => position) }
}

const nextTurn = (): Promise<void> => Promise.resolve()

describe('lending', () => {
  it('takes turns over the lines and stops at the window', () => {
    const { lending, positions } = setup()
    lending.add(new Numbers('a', 5))
    lending.add(new Numbers('b', 5))
    lending.lend()
    expect(positions()).toEqual(['a 0', 'b 0', 'a 1'])
  })

  it('stops at the bytes, and lends a message over the whole budget alone', () => {
    const { lending, positions, at } = setup({ prefetchBytes: 10 })
    lending.add(new Numbers('a', 3, 25))
    lending.lend()
    expect(positions()).toEqual(['a 0'])
    at('a 0').ack()
    lending.lend()
    expect(positions()).toEqual(['a 0', 'a 1'])
  })

  it('lends returned messages in order, all that was released in one turn together', async () => {
    const { lending, positions, at } = setup({ prefetch: 2 })
    lending.add(new Numbers('a', 4))
    lending.lend()
    at('a 1').release()
    at('a 0').release()
    expect(positions()).toEqual(['a 0', 'a 1'])
    await nextTurn()
    expect(positions()).toEqual(['a 0', 'a 1', 'a 0', 'a 1'])
    expect(at('a 0').redelivered).toBe(true)
  })

  it('settles once: later calls have no effect', async () => {
    const { lending, at } = setup()
    const line = new Numbers('a', 1)
    lending.add(line)
    lending.lend()
    const delivery = at('a 0')
    delivery.ack()
    delivery.ack()
    delivery.release()
    await nextTurn()
    expect(line.settled).toEqual([0])
    expect(line.waiting).toEqual([])
    expect(lending.window.count).toBe(0)
  })

  it('withdraws a line: its signal aborts, its space is free, and settling has no effect', () => {
    const { lending, at, positions } = setup({ prefetch: 2 })
    const gone = new Numbers('a', 2)
    const loan = lending.add(gone)
    lending.lend()
    const { signal } = at('a 0')
    lending.withdraw(loan, new Error('taken away'))
    expect(signal.reason).toMatchObject({ message: 'taken away' })
    at('a 0').ack()
    at('a 1').release()
    expect([gone.settled, gone.waiting, lending.window.count, lending.window.bytes]).toEqual([[], [], 0, 0])
    lending.add(new Numbers('b', 2))
    lending.lend()
    expect(positions()).toEqual(['a 0', 'a 1', 'b 0', 'b 1'])
  })

  it('lends nothing while it is paused, and keeps what is lent', () => {
    const { lending, positions, at } = setup({ prefetch: 1 })
    const line = new Numbers('a', 2)
    lending.add(line)
    lending.lend()
    lending.setPaused(true)
    at('a 0').ack()
    lending.lend()
    expect(line.settled).toEqual([0])
    lending.setPaused(false)
    lending.lend()
    expect(positions()).toEqual(['a 0', 'a 1'])
  })

  it('reports an idle line', async () => {
    const { lending, at } = setup()
    const loan = lending.add(new Numbers('a', 2))
    lending.lend()
    let isIdle = false
    const idle = loan.idle().then(() => {
      isIdle = true
    })
    at('a 0').ack()
    lending.setPaused(true)
    await nextTurn()
    expect(isIdle).toBe(false)
    at('a 1').release()
    await idle
    expect(loan.lent).toBe(0)
  })

  it('reports whether it holds messages', () => {
    const busy: boolean[] = []
    const { lending, at } = setup({}, { onBusy: (isBusy) => void busy.push(isBusy) })
    const loan = lending.add(new Numbers('a', 2))
    lending.lend()
    at('a 0').ack()
    at('a 1').ack()
    lending.add(new Numbers('b', 1))
    lending.lend()
    lending.withdraw(loan, new Error('over'))
    expect(busy).toEqual([true, false, true])
  })

  it('delivers one after the other, also to a receiver that requests more during the call', async () => {
    const order: string[] = []
    const { lending } = setup(
      {},
      {
        deliver: ({ position }) => {
          order.push(`> ${position}`)
          lending.lend()
          order.push(`< ${position}`)
        },
      },
    )
    lending.add(new Numbers('a', 2))
    lending.lend()
    await nextTurn()
    expect(order).toEqual(['> a 0', '< a 0', '> a 1', '< a 1'])
  })

  it('checks that a loan still exists before it reports it', () => {
    const { lending, at } = setup({}, { onLook: () => lending.withdraw(loan, new Error('stood still')) })
    const loan = lending.add(new Numbers('a', 1))
    lending.lend()
    expect(at('a 0').signal.aborted).toBe(true)
  })
})
