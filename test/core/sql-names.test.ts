import { quoteIdentifier } from 'concordat/core'
import { expect, test } from 'vitest'

test('quoteIdentifier quotes a name so that it cannot end early', () => {
  expect(quoteIdentifier('orders')).toBe('"orders"')
  expect(quoteIdentifier('a"; DROP TABLE x; --')).toBe('"a""; DROP TABLE x; --"')
})

test.each(['', 'x'.repeat(64), 'ü'.repeat(32), 'a\0b'])('quoteIdentifier refuses the name %j', (name) => {
  expect(() => quoteIdentifier(name)).toThrow(TypeError)
})
