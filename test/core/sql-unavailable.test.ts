import { describe, expect, it } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- internal
import { fromOwnStatement } from '../../core/own-statements.ts'
// oxlint-disable-next-line no-restricted-imports -- internal
import { fromDriver, sqlUnavailable, throwFromConnecting } from '../../core/sql-unavailable.ts'

const coded = (code: string, message = 'no'): Error => Object.assign(new Error(message), { code })

describe('a database that is down', () => {
  it.each(['08006', '57P01', '57P02', '25006', '53100'])('is recognized from %s', (code) => {
    expect(sqlUnavailable(coded(code))).toBe('lost')
  })

  it.each(['57P03', '53300'])('cannot be reached yet with %s', (code) => {
    expect(sqlUnavailable(coded(code))).toBe('unreachable')
  })

  it('is recognized from a driver that has names of its own beside the SQLSTATE, as those of MariaDB', () => {
    const named = (sqlState: string): Error => Object.assign(coded('ER_NAMED'), { sqlState })
    for (const state of ['08001', '08004']) expect(sqlUnavailable(named(state)), state).toBe('unreachable')
    for (const state of ['08S01', '08006']) expect(sqlUnavailable(named(state)), state).toBe('lost')
    for (const state of ['HY000', '23000', '28000']) expect(sqlUnavailable(named(state)), state).toBeUndefined()
  })

  it('is recognized from the driver’s message', () => {
    expect(sqlUnavailable(new Error('Connection terminated unexpectedly'))).toBe('lost')
  })

  it.each(['timeout exceeded when trying to connect', 'Connection terminated due to connection timeout'])(
    'cannot be reached in time with the driver’s message: %s',
    (message) => {
      expect(sqlUnavailable(new Error(message))).toBe('unreachable')
    },
  )

  it('is recognized through a library’s wrapper', () => {
    expect(sqlUnavailable(new Error('Failed query', { cause: coded('25006') }))).toBe('lost')
  })

  it('is recognized from a network error only for a client of a database', () => {
    expect(sqlUnavailable(coded('ECONNREFUSED'))).toBeUndefined()
    expect(sqlUnavailable(fromDriver(coded('ECONNREFUSED')))).toBe('unreachable')
    expect(sqlUnavailable(fromDriver(coded('ECONNRESET')))).toBe('lost')
  })

  it.each(['23505', '40001', '42P01', '53200', '57014', '55P03', '42501'])('is not recognized from %s', (code) => {
    expect(sqlUnavailable(fromDriver(coded(code)))).toBeUndefined()
  })

  it.each(['28P01', '28000', '3D000', 'CERT_HAS_EXPIRED', 'ERR_TLS_CERT_ALTNAME_INVALID'])(
    'cannot be reached with %s of a client of a database',
    (code) => {
      expect(sqlUnavailable(fromDriver(coded(code)))).toBe('unreachable')
      expect(sqlUnavailable(coded(code))).toBeUndefined()
    },
  )

  it('cannot be reached when no connection is made, with any error', () => {
    for (const error of [coded('42501'), new Error('self-signed certificate'), coded('28P01')]) {
      expect(() => throwFromConnecting(error)).toThrow(error)
      expect(sqlUnavailable(error)).toBe('unreachable')
    }
  })

  it('is recognized when the role lacks a permission, and not from row-level security, which depends on the row', () => {
    const denied = (routine: string) => fromDriver(Object.assign(coded('42501'), { routine }))
    expect(sqlUnavailable(denied('aclcheck_error'))).toBe('lost')
    expect(sqlUnavailable(denied('aclcheck_error_col'))).toBe('lost')
    expect(sqlUnavailable(denied('nextval_internal'))).toBe('lost')
    expect(sqlUnavailable(denied('ExecWithCheckOptions'))).toBeUndefined()
  })

  it('is not recognized from a statement timeout, unless the statement is one of this package', () => {
    const unanswered = (): unknown => fromDriver(new Error('Query read timeout'))
    expect(sqlUnavailable(unanswered())).toBeUndefined()
    expect(sqlUnavailable(fromOwnStatement(unanswered()))).toBe('lost')
    expect(sqlUnavailable(fromOwnStatement(fromDriver(coded('57014'))))).toBe('lost')
    expect(sqlUnavailable('no error')).toBeUndefined()
  })
})
