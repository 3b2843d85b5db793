// oxlint-disable no-restricted-imports -- inside of the coordinator: its records while no health is requested
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { systemClock } from 'concordat/core'
import { expect, test } from 'vitest'
import { FailingSagas } from '../../../saga/coordinator/failing-sagas.ts'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void

test('a saga that failed long ago is forgotten when another one fails, also if no health is asked for', async () => {
  let now = 0
  const failing = new FailingSagas({ ...systemClock, monotonic: () => now }, 1_000, 'not written')
  const fail = (saga: string): WeakRef<Error> => {
    const error = new Error('away')
    failing.failed(saga, error)
    return new WeakRef(error)
  }
  const old = fail('a')
  now = 500
  const recent = fail('b')
  now = 1_200
  fail('c')
  await new Promise(setImmediate)
  gc()
  expect([old.deref(), recent.deref()]).toEqual([undefined, expect.any(Error)])
  expect(failing.problem()).toBe('saga c, and 1 more not written: away')
})
