import { expect, it } from 'vitest'
import { told } from './errors.ts'

it('an error shows all of its causes on one line', async () => {
  const reasons = ['w1: not within 10 ms: takes over', 'w2 ended before: takes over,\n  after: locks.lost']
  const all = await Promise.any(reasons.map((reason) => Promise.reject(new Error(reason)))).catch(
    (error: unknown) => error,
  )
  const inside = '[w1: not within 10 ms: takes over; w2 ended before: takes over, after: locks.lost]'
  expect(told(all)).toBe(`All promises were rejected ${inside}`)
  const named = new Error('nobody of w1, w2 took over', { cause: all })
  expect(told(named)).toBe(`nobody of w1, w2 took over, because of: All promises were rejected ${inside}`)
  expect(told(new Error(`nobody: ${told(all)}`, { cause: all }))).toBe(`nobody: ${told(all)}`)
  expect(told('text')).toBe('text')
})
