// oxlint-disable no-restricted-imports -- inside of a consumer: what waits in it, without a transport
import { systemClock } from 'concordat/core'
import { expect, it } from 'vitest'
import { BatchFormation } from '../../../binder/consuming/batch/batch-formation.ts'
import { Lanes } from '../../../binder/consuming/lanes.ts'
import type { Line } from '../../../binder/consuming/line-interface.ts'
import { turnsOf } from '../../../core/event-loop-turns.ts'
import { until } from '../../support/until.ts'

/** Runs the pushed items in the order of their keys, the first character of each; each runs until the test ends it. */
class Work {
  readonly begun: string[] = []
  readonly #ends = new Map<string, () => void>()

  run = (item: string): Promise<void> => {
    this.begun.push(item)
    return new Promise((resolve) => this.#ends.set(item, resolve))
  }

  end(item: string): void {
    this.#ends.get(item)?.()
  }
}

const keyOf = (item: string): string => item.slice(0, 1)

it.each<[string, (work: Work) => Line<string>]>([
  ['one by one', (work) => new Lanes(2, keyOf, work.run, { turns: turnsOf() })],
  [
    'in batches',
    (work) =>
      new BatchFormation(
        { concurrency: 2, maxSize: 1, maxWaitMs: 0 },
        keyOf,
        async (items, done) => {
          for (const item of items) {
            await work.run(item)
            done(item)
          }
        },
        { clock: systemClock, gate: undefined },
      ),
  ],
])('items waiting %s survive removals during a lookup', async (_, lineOf) => {
  const work = new Work()
  const line = lineOf(work)
  for (const item of ['a1', 'a2', 'a3', 'a4', 'b1', 'b2', 'b3']) line.push(item)
  // A batch may wait for a turn of the event loop.
  await until('one of each key begins', () => work.begun.length === 2)
  let inner: string[] | undefined
  const removed = line.remove((item) => {
    // Removes items re-entrantly, as an evaluated signal does when it finds the session over.
    inner ??= line.remove((each) => each === 'a3' || each === 'b2')
    return item === 'a2'
  })
  expect(removed).toEqual(['a2'])
  expect(inner).toEqual(['a3', 'b2'])
  expect(line.queued).toBe(2)
  work.end('a1')
  work.end('b1')
  await until('the rest begins', () => work.begun.length === 4)
  expect(work.begun).toEqual(['a1', 'b1', 'a4', 'b3'])
  expect(line.queued).toBe(0)
})
