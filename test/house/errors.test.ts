import * as sagaMysql from '@concordat/mysql'
import * as binder from 'concordat/binder'
import * as bus from 'concordat/bus'
import * as cluster from 'concordat/cluster'
import * as core from 'concordat/core'
import { ConcordatError } from 'concordat/core'
import * as election from 'concordat/election'
import * as embedded from 'concordat/embedded'
import * as locks from 'concordat/locks'
import * as operate from 'concordat/operate'
import * as outbox from 'concordat/outbox'
import * as pipelines from 'concordat/pipeline'
import * as saga from 'concordat/saga'
import * as sagaGlobal from 'concordat/saga/global'
import * as sagaSharding from 'concordat/saga/sharding'
import * as sagaUndo from 'concordat/saga/undo'
import * as service from 'concordat/service'
import * as tokens from 'concordat/tokens'
import { describe, expect, it } from 'vitest'
import { ERRORS } from './support/errors-table.ts'

const USERS_OWN = new Set(['Refusal'])

const FOLDERS: Readonly<Record<string, object>> = {
  core,
  binder,
  operate,
  outbox,
  saga: { ...saga, ...sagaGlobal, ...sagaMysql, ...sagaSharding, ...sagaUndo },
  locks,
  election,
  bus,
  service,
  cluster,
  embedded,
  pipeline: pipelines,
  tokens,
}

describe.for(ERRORS)('$error.name ($code)', ({ error, code, retryable, remedy }) => {
  it('is named after its class, carries its code and its `retryable`', () => {
    expect(error).toBeInstanceOf(ConcordatError)
    expect(error.name).toBe(error.constructor.name)
    expect({ code: error.code, retryable: error.retryable }).toEqual({ code, retryable })
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

  it('has a code of its own that begins with its folder', () => {
    const classOf = new Map<string, unknown>()
    for (const { error, code } of ERRORS) {
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
