import { describe, expect, it } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- internal
import { fromDriver, sqlAway } from '../../core/sql-away.ts'

const coded = (code: string, message = 'no'): Error => Object.assign(new Error(message), { code })

describe('a database that is away', () => {
  it.each(['08006', '57P01', '57P02', '25006', '53100'])('is said by %s', (code) => {
    expect(sqlAway(coded(code))).toBe('lost')
  })

  it.each(['57P03', '53300'])('cannot be reached yet, says %s', (code) => {
    expect(sqlAway(coded(code))).toBe('unreachable')
  })

  it('is said by the driver in words', () => {
    expect(sqlAway(new Error('Connection terminated unexpectedly'))).toBe('lost')
  })

  it.each(['timeout exceeded when trying to connect', 'Connection terminated due to connection timeout'])(
    'cannot be reached in time, says the driver: %s',
    (message) => {
      expect(sqlAway(new Error(message))).toBe('unreachable')
    },
  )

  it('is seen through what a library put around it', () => {
    expect(sqlAway(new Error('Failed query', { cause: coded('25006') }))).toBe('lost')
  })

  it('is told by the network only when a client of a database says so', () => {
    expect(sqlAway(coded('ECONNREFUSED'))).toBeUndefined()
    expect(sqlAway(fromDriver(coded('ECONNREFUSED')))).toBe('unreachable')
    expect(sqlAway(fromDriver(coded('ECONNRESET')))).toBe('lost')
  })

  it.each(['23505', '40001', '42P01', '53200', '57014', '55P03', '28P01'])('is not said by %s', (code) => {
    expect(sqlAway(fromDriver(coded(code)))).toBeUndefined()
  })

  it('is not said by a statement that took too long', () => {
    expect(sqlAway(fromDriver(new Error('Query read timeout')))).toBeUndefined()
    expect(sqlAway('no error')).toBeUndefined()
  })
})
