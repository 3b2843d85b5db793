import { expect, test } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- pure inside of the store; through a server: driver.int.test.ts
import { notHeld } from '../../../locks/redis/lock-value-format.ts'
// oxlint-disable-next-line no-restricted-imports -- with answers that no server gives by itself
import { RedisOperator } from '../../../locks/redis/operator.ts'

const MARK = '{"by":"ann","reason":"stuck"}'

test('a tombstone of another program means that the lock is lost, and not that it was forced', () => {
  expect(notHeld(MARK)).toEqual({ forced: { by: 'ann', reason: 'stuck' } })
  for (const mark of ['{', '{"by":null}', '{"by":"ann"}', '{}', '']) expect(notHeld(mark)).toBe('lost')
})

test.each([
  '{',
  'null',
  '{"mark":7}',
  '{"mark":"{"}',
  JSON.stringify({ mark: MARK, at: '1', token: '2' }),
  JSON.stringify({ mark: MARK, at: {}, token: '2', ended: '' }),
])('the audit with an entry %s is refused with an error that names its place', async (entry) => {
  const operator = new RedisOperator({ commands: { run: async () => [entry] } as never, prefix: 'l:', turn: 't' })
  await expect(operator.audit('door')).rejects.toMatchObject({
    code: 'locks.store_refused',
    message: expect.stringContaining('"door"'),
  })
})
