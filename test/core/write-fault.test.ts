// oxlint-disable no-restricted-imports -- inside of the core: the classifier has no public name
import { TransportError } from 'concordat/binder'
import { SqlCommitError, SqlError } from 'concordat/core'
import { describe, expect, it, test } from 'vitest'
import { fromDriver, throwFromConnecting } from '../../core/sql-unavailable.ts'
import { writeFault, writeOutcome } from '../../core/write-fault.ts'

const sql = (code: string, fields: object = {}): unknown =>
  fromDriver(Object.assign(new Error(`server said ${code}`), { code, ...fields }))

describe('writeFault', () => {
  it.each([
    ['40001', 'busy'],
    ['40P01', 'busy'],
    ['55P03', 'busy'],
    ['saga.xa_not_yet', 'busy'],
    ['25P03', 'session-ended'],
    ['25P04', 'session-ended'],
    ['22P05', 'permanent'],
    ['54000', 'permanent'],
    ['22021', 'permanent'],
    ['22003', 'permanent'],
    ['23514', 'permanent'],
    ['08006', 'unavailable'],
    ['57P01', 'unavailable'],
    ['53100', 'unavailable'],
    ['53300', 'unavailable'],
    ['25006', 'unavailable'],
    ['ECONNREFUSED', 'unavailable'],
    ['23505', undefined],
    ['42601', undefined],
  ] as const)('classifies %s as %s', (code, fault) => {
    expect(writeFault(sql(code))).toBe(fault)
  })

  it.each([
    ['unavailable', {}, 'unavailable'],
    ['timeout', {}, 'unavailable'],
    ['closed', {}, 'unavailable'],
    ['refused', { type: 'NOT_ENOUGH_REPLICAS' }, 'unavailable'],
    ['refused', { code: 530 }, 'unavailable'],
    ['refused', { type: 'TOPIC_AUTHORIZATION_FAILED' }, 'operator'],
    ['refused', { type: 'SASL_AUTHENTICATION_FAILED' }, 'operator'],
    ['refused', { type: 'INVALID_TIMESTAMP' }, 'operator'],
    ['refused', { code: 403 }, 'operator'],
    ['refused', { code: '42501', routine: 'aclcheck_error' }, 'operator'],
    ['too_large', { type: 'MESSAGE_TOO_LARGE' }, 'permanent'],
    ['mismatch', { type: 'INVALID_RECORD' }, 'permanent'],
    ['mismatch', { code: 406 }, 'permanent'],
  ] as const)('classifies a broker’s %s with %o as %s', (kind, said, fault) => {
    const cause = Object.assign(new Error('the broker'), said)
    expect(writeFault(new TransportError({ transport: 'kafka', kind, message: 'not sent', cause }))).toBe(fault)
  })

  it('classifies a deadlock of MariaDB, whose driver has the SQLSTATE apart from its own code, as busy', () => {
    const error = Object.assign(new Error('Deadlock found'), {
      code: 'ER_LOCK_DEADLOCK',
      errno: 1213,
      sqlState: '40001',
    })
    expect([writeFault(error), writeFault(new Error('query failed', { cause: error }))]).toEqual(['busy', 'busy'])
  })

  it('classifies a missing right as a task of the operator', () => {
    expect(writeFault(sql('42501', { routine: 'aclcheck_error' }))).toBe('operator')
  })

  it.each(['core.tables_missing', 'outbox.partitions', 'outbox.owner', 'saga.shards_mismatch'])(
    'classifies %s, which a deployment causes, as a task of the operator',
    (code) => {
      expect(writeFault(Object.assign(new Error(code), { code, retryable: false }))).toBe('operator')
    },
  )

  it('classifies a prepared statement that a pooler lost as a task of the operator', () => {
    expect(writeFault(new SqlError('core.sql_statement_lost', {}, sql('26000')))).toBe('operator')
  })

  it('classifies a transport that is closed as unavailable', () => {
    const closed = { code: 'binder.transport', kind: 'closed', retryable: false }
    expect(writeFault(Object.assign(new Error('closed'), closed))).toBe('unavailable')
  })

  it('looks through a library’s wrapper', () => {
    expect(writeFault(new Error('query failed', { cause: sql('40P01') }))).toBe('busy')
  })

  it('classifies an error that refuses to be retried as permanent', () => {
    expect(writeFault(Object.assign(new Error('too large'), { code: 'outbox.too_large', retryable: false }))).toBe(
      'permanent',
    )
  })

  it('classifies a value that needs too much memory as permanent, and no other internal error', () => {
    const tooLarge = Object.assign(new Error('invalid memory alloc request size 1073741824'), { code: 'XX000' })
    expect(writeFault(tooLarge)).toBe('permanent')
    expect(writeFault(sql('XX000'))).toBeUndefined()
  })

  it('returns nothing for any other error', () => {
    expect(writeFault(new Error('boom'))).toBeUndefined()
    expect(writeFault(undefined)).toBeUndefined()
  })
})

test('a conflict whose error the work swallowed is still a conflict, and nothing was done', () => {
  const swallowed = new SqlCommitError([sql('55P03'), sql('25P02')])
  expect(writeFault(swallowed)).toBe('busy')
  expect(writeOutcome(swallowed)).toBe('not_done')
  expect(writeFault(new SqlCommitError([sql('23505')]))).toBe('permanent')
})

describe('writeOutcome', () => {
  it.each([
    ['40001', 'not_done'],
    ['40P01', 'not_done'],
    ['55P03', 'not_done'],
    ['25P03', 'not_done'],
    ['25P04', 'not_done'],
    ['57014', 'not_done'],
    ['57P03', 'not_done'],
    ['53100', 'not_done'],
    ['53200', 'not_done'],
    ['53300', 'not_done'],
    ['25006', 'not_done'],
    ['ECONNREFUSED', 'not_done'],
    ['core.sql_commit', 'not_done'],
    ['40003', 'unknown'],
    ['08006', 'unknown'],
    ['57P01', 'unknown'],
    ['57P05', 'unknown'],
    ['58030', 'unknown'],
    ['XX000', 'unknown'],
    ['ECONNRESET', 'unknown'],
    ['EPIPE', 'unknown'],
    ['22021', 'refused'],
    ['54000', 'refused'],
    ['23514', 'refused'],
    ['23505', 'refused'],
    ['42501', 'refused'],
    ['42601', 'refused'],
    ['core.tables_missing', 'refused'],
  ] as const)('classifies a write that failed with %s: %s', (code, outcome) => {
    expect(writeOutcome(sql(code))).toBe(outcome)
    expect(writeOutcome(new Error('query failed', { cause: sql(code) }))).toBe(outcome)
  })

  it('distinguishes whether a network that timed out had a connection, through which a write may have passed', () => {
    for (const code of ['ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH']) {
      expect(writeOutcome(sql(code, { syscall: 'connect' }))).toBe('not_done')
      expect(writeOutcome(sql(code, { syscall: 'read' }))).toBe('unknown')
    }
  })

  it('reports that nothing was done where no connection was made', () => {
    const error = new Error('no pg_hba.conf entry')
    expect(() => throwFromConnecting(error)).toThrow(error)
    expect(writeOutcome(error)).toBe('not_done')
  })

  it('treats an unclassified error as an unknown outcome', () => {
    expect(writeOutcome(new Error('boom'))).toBe('unknown')
    expect(writeOutcome('boom')).toBe('unknown')
  })
})
