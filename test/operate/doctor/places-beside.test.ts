import { createOperator } from '@concordat/cli'
import { TransportError } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { expect, test } from 'vitest'

const known = [1, 2, 3].map((n) => ({ channel: `c${n}`, group: 'g' }))
const log = known.slice(0, 2).map((each) => ({ ...each, lag: 0, isCut: false, readers: 0 }))
const sql = { query: async () => ({ rows: [] }), transaction: async () => {} } as unknown as SqlClient

function lettersOn(transport: object) {
  return createOperator({ sql, transport: () => ({ attach: () => {}, close: async () => {}, ...transport }) as never })
    .letters
}

test('a broker that does not answer is asked for one group of the log, and none is left out', async () => {
  let asked = 0
  const lag = async (): Promise<never> => {
    asked++
    throw new TransportError({ transport: 'kafka', kind: 'unavailable', message: 'away' })
  }
  expect(await lettersOn({ lag }).besideLog(log, known)).toEqual(known)
  expect(asked).toBe(1)
})

test('a transport that is the log itself is not asked, and has only what the log does not have', async () => {
  const isOn = (other: SqlClient): boolean => other === sql
  expect(await lettersOn({ isOn }).besideLog(log, known)).toEqual(known.slice(2))
})

test('the log is not asked either where it is one of several transports, and the others are', async () => {
  const isOn = (other: SqlClient): boolean => other === sql
  const broker = { lag: async () => 0 }
  const ownerOf = (channel: string): object => (channel === 'c1' ? { isOn } : broker)
  expect(await lettersOn({ ...broker, features: {}, ownerOf }).besideLog(log, known)).toEqual(known.slice(1))
})

test('a group whose name and channel, put together, read as those of a group of the log is not taken for it', async () => {
  const isOn = (other: SqlClient): boolean => other === sql
  const inLog = { channel: 'orders', group: 'placed.stock', lag: 0, isCut: false, readers: 0 }
  const other = { channel: 'orders.placed', group: 'stock' }
  expect(await lettersOn({ isOn }).besideLog([inLog], [inLog, other])).toEqual([other])
})

test('a transport that cannot be closed is asked for its groups, which says what is wrong', async () => {
  const close = (): Promise<void> => Promise.reject(new Error('closed badly'))
  expect(await lettersOn({ lag: async () => 0, features: {}, close }).besideLog(log, known)).toEqual(known)
})
