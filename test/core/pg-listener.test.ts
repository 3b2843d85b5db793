import { EventEmitter } from 'node:events'
import { pgListener } from 'concordat/core/pg'
import { expect, test } from 'vitest'
import { until } from '../support/until.ts'

/** A server that stands still: it has answered until now, and answers no goodbye. */
class Frozen extends EventEmitter {
  isDestroyed = false
  readonly connection = { stream: { destroy: () => void (this.isDestroyed = true) } }
  readonly #connects: boolean
  constructor(connects: boolean) {
    super()
    this.#connects = connects
  }
  connect(): Promise<unknown> {
    return this.#connects ? Promise.resolve() : new Promise(() => {})
  }
  query(): Promise<unknown> {
    return Promise.resolve()
  }
  end(): Promise<void> {
    return new Promise(() => {})
  }
}

test.each([
  ['that listens', true],
  ['that still connects', false],
])('a listener %s to a server that stands still closes all the same', async (_, connects) => {
  const made: Frozen[] = []
  const listener = pgListener({
    connect: () => {
      const connection = new Frozen(connects)
      made.push(connection)
      return connection
    },
  })
  listener.listen('orders', () => {})
  await until('it has a connection', () => made.length === 1)
  const since = performance.now()
  await listener.close()
  expect(performance.now() - since).toBeLessThan(10_000)
  expect(made.map(({ isDestroyed }) => isDestroyed)).toEqual([true])
})
