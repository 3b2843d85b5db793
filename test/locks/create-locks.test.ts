import type { LockStore } from 'concordat/extension'
import { createLocks } from 'concordat/locks'
import { expect, test } from 'vitest'

const method = (): never => {
  throw new Error('not called')
}
const store = {
  name: 'lab',
  features: { fifo: true, shared: true, lockDelay: true },
  operator: { missing: 'it is a test' },
  newValue: method,
  acquire: method,
  extend: method,
  release: method,
  abandon: method,
  listen: method,
  inspect: method,
  onDoubt: () => {},
  health: () => ({ status: 'up' }),
  close: method,
} as unknown as LockStore

test('a store of another package is accepted', () => {
  expect(() => createLocks(store)).not.toThrow()
})

test.for(Object.keys(store).filter((name) => name !== 'name'))(
  'a store without `%s` is refused by that name',
  (name) => {
    const { [name as keyof LockStore]: _, ...partial } = store
    expect(() => createLocks(partial as LockStore)).toThrow(
      new RegExp(`createLocks\\.store\\.${name}\\b.*LockStore`, 's'),
    )
  },
)

test.for([undefined, null, 'redis', {}])('what is no store is refused: %j', (value) => {
  expect(() => createLocks(value as unknown as LockStore)).toThrow(/createLocks\.store: .*redisLocks/s)
})
