// oxlint-disable no-restricted-imports -- names that no reader sees: what an inbox is given for a message
import { expect, it } from 'vitest'
import { sourceOf } from '../../../binder/channel/id-namespace.ts'
import { messageOn } from '../support/scripted-transport.ts'

const letter = (position: string, more: object = {}) => ({
  ...messageOn('orders.g.dlq', 'k', 1),
  source: 'shop',
  headers: {
    'dead-letter-channel': 'orders',
    'dead-letter-group': 'g',
    'dead-letter-time': '2026-11-27T12:00:00.000Z',
    'dead-letter-position': position,
    ...more,
  },
})

it('two failures at one time in a queue with a long name have names of their own, which fit an index', () => {
  const queue = 'q'.repeat(400)
  const [first, second] = [sourceOf(letter(`${queue} delivery 1`)), sourceOf(letter(`${queue} delivery 2`))]
  expect(first).not.toBe(second)
  expect(sourceOf(letter(`${queue} delivery 1`))).toBe(first)
  expect(first.length).toBeLessThan(100)
})

it('a message that only copies the headers of a dead letter keeps its source', () => {
  expect(sourceOf({ ...letter('1'), destination: 'orders' })).toBe('shop')
  expect(sourceOf(letter('1', { 'dead-letter-group': 'other' }))).toBe('shop')
})
