// oxlint-disable no-restricted-imports -- inside of the coordinator: how the outcome of a step is written
import { silentLogger } from 'concordat/core'
import { expect, test } from 'vitest'
import type { EventApplier } from '../../../saga/coordinator/event-applier.ts'
import type { HeldLease, Leases } from '../../../saga/coordinator/leases.ts'
import type { LoadedSaga } from '../../../saga/coordinator/loaded-saga.ts'
import type { CoordinatorRuntime } from '../../../saga/coordinator/runtime.ts'
import { StepRunner } from '../../../saga/coordinator/step-runner.ts'
import { SagaError } from '../../../saga/errors.ts'
import type { Call } from '../../../saga/machine/state.ts'

/** Writes an outcome with these answers of the database, one for each try. */
function record(answer: (tries: number) => unknown) {
  let tries = 0
  const pauses: number[] = []
  const clock = { sleep: async (ms: number) => void pauses.push(ms) }
  const applier = { apply: async () => answer(++tries) } as unknown as EventApplier
  const runtime = { clock, logger: silentLogger, transactions: 1 } as unknown as CoordinatorRuntime
  const chains = { isClosing: true, aside: async () => {} }
  const runner = new StepRunner(runtime, applier, {} as Leases, chains)
  const lease = { name: 'order', id: 'a', epoch: 1, signal: new AbortController().signal } as unknown as HeldLease
  const call = { step: 'pay', index: 0 } as Call
  return { written: runner.run(savedAs('first'), call, lease), tries: () => tries, pauses }
}

const savedAs = (birth: string): LoadedSaga => ({ row: { name: 'order', id: 'a', birth } }) as unknown as LoadedSaga
const appliedTo = (birth: string) => ({ snapshot: savedAs(birth), changed: true, heard: true })

test('an outcome is written again until the database takes it', async () => {
  const { written, tries, pauses } = record((n) => {
    if (n < 3) throw new Error('no answer')
    return appliedTo('first')
  })
  expect(await written).toEqual(appliedTo('first'))
  expect([tries(), pauses.length]).toEqual([3, 2])
})

test('an outcome is left to the lease after eight tries', async () => {
  const { written, tries } = record((n) => {
    if (n <= 8) throw new Error('no answer')
    return appliedTo('first')
  })
  await expect(written).rejects.toThrow('no answer')
  expect(tries()).toBe(8)
})

test('an outcome is not written again once another coordinator has the saga', async () => {
  const { written, tries } = record(() => {
    throw new SagaError('saga.ownership_lost', { saga: 'order', id: 'a' })
  })
  await expect(written).rejects.toMatchObject({ code: 'saga.ownership_lost' })
  expect(tries()).toBe(1)
})

test('an outcome of a saga that the database lost is none of the saga that has its id now', async () => {
  expect(await record(() => appliedTo('second')).written).toBeUndefined()
  expect(await record(() => undefined).written).toBeUndefined()
})
