// oxlint-disable no-restricted-imports -- a small part with rules of its own, not reachable from outside
import { expect, test } from 'vitest'
import { Lifecycle } from '../../core/lifecycle.ts'

const closed = new Error('closed')

test('a part that is closed while it starts has not started', async () => {
  const life = new Lifecycle(() => closed)
  const begun = Promise.withResolvers<void>()
  const starting = life.start(() => begun.promise)
  await life.close(async () => begun.resolve())
  await expect(starting).rejects.toBe(closed)
})

test('a part starts once, and again after a failed start', async () => {
  const life = new Lifecycle(() => closed)
  const begins: number[] = []
  const begin = async (): Promise<void> => {
    if (begins.push(begins.length) === 1) throw new Error('away')
  }
  await expect(life.start(begin)).rejects.toThrow('away')
  expect(life.isStarted).toBe(false)
  await Promise.all([life.start(begin), life.start(begin)])
  expect(begins).toHaveLength(2)
})
