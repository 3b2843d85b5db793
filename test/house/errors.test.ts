import { readFileSync } from 'node:fs'
import * as operate from '@concordat/cli'
import * as sagaMysql from '@concordat/mysql'
import * as binder from 'concordat/binder'
import * as bus from 'concordat/bus'
import * as cluster from 'concordat/cluster'
import * as core from 'concordat/core'
import { ConcordatError } from 'concordat/core'
import * as election from 'concordat/election'
import * as embedded from 'concordat/embedded'
import * as locks from 'concordat/locks'
import * as tokens from 'concordat/locks'
import * as operator from 'concordat/operator'
import * as outbox from 'concordat/outbox'
import * as pipelines from 'concordat/pipeline'
import * as saga from 'concordat/saga'
import * as sagaCoordinator from 'concordat/saga/coordinator'
import * as sagaGlobal from 'concordat/saga/global'
import * as sagaUndo from 'concordat/saga/undo'
import * as service from 'concordat/service'
import { describe, expect, it } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- no page needs it
import { isClosed } from '../../core/write-fault.ts'
import { ERRORS } from './support/errors-table.ts'
import { sourceFiles } from './support/sources.ts'

const USERS_OWN = new Set(['Refusal'])

const FOLDERS: Readonly<Record<string, object>> = {
  core,
  binder,
  operate: { ...operate, ...operator },
  outbox,
  saga: { ...saga, ...sagaGlobal, ...sagaMysql, ...sagaCoordinator, ...sagaUndo },
  locks,
  election,
  bus,
  service,
  cluster,
  embedded,
  pipeline: pipelines,
  tokens,
}

describe.for(ERRORS)('$error.name ($error.code)', ({ error, retryable, remedy }) => {
  it('is named after its class, and says whether to retry', () => {
    expect(error).toBeInstanceOf(ConcordatError)
    expect(error.name).toBe(error.constructor.name)
    expect(error.retryable).toBe(retryable)
  })

  it('has a remedy, on one line', () => {
    expect(error.message).toContain(remedy)
    expect(error.message).not.toContain('\n')
    expect(error.message).not.toMatch(/undefined|\[object/)
  })
})

describe('every exported error', () => {
  it('is in this table', () => {
    const listed = new Set<unknown>(ERRORS.map(({ error }) => error.constructor))
    for (const exported of Object.values(FOLDERS)) {
      const errors = Object.values(exported).filter((value) => isErrorClass(value) && value !== ConcordatError)
      for (const error of errors) expect(listed, (error as { name: string }).name).toContain(error)
    }
  })

  it('has every code of its class in this table', () => {
    const listed = new Set(ERRORS.map(({ error }) => error.code))
    const sources = sourceFiles()
      .map((file) => readFileSync(file, 'utf8'))
      .filter((text) => text.includes('ErrorOf<'))
    const codes = sources.flatMap((text) => [...text.matchAll(/^ {2}'([a-z]+\.[a-z_.]+)': /gm)].map(([, code]) => code))
    expect(codes.length).toBeGreaterThan(10)
    expect(codes.filter((code) => code !== undefined && !listed.has(code))).toEqual([])
  })

  it('has a code of its own that begins with its folder', () => {
    const classOf = new Map<string, unknown>()
    for (const { error } of ERRORS) {
      const { code } = error
      if (USERS_OWN.has(error.name)) continue
      expect(classOf.get(code) ?? error.constructor, code).toBe(error.constructor)
      classOf.set(code, error.constructor)
      expect(FOLDERS[code.split('.')[0] ?? ''], code).toHaveProperty(error.name, error.constructor)
    }
  })
})

function isErrorClass(value: unknown): boolean {
  return typeof value === 'function' && value.prototype instanceof Error
}

describe('the error of a closed part', () => {
  it('is told from all others, for every part', () => {
    const known = ERRORS.filter(({ error }) => isClosed(error)).map(({ error }) => error.code)
    const closed = ERRORS.map(({ error }) => error.code).filter((code) => code.endsWith('.closed'))
    expect(new Set(closed).size).toBeGreaterThan(8)
    expect(known).toEqual(closed)
  })

  it('leaves an error of the caller to the caller, whatever its cause', () => {
    const cause = Object.assign(new Error('closed'), { code: 'service.closed', retryable: false })
    expect(isClosed(new Error('payment failed', { cause }))).toBe(false)
    expect(isClosed(undefined)).toBe(false)
  })
})
