// oxlint-disable no-restricted-imports -- inside of the coordinator: what a process keeps of the branches that it has seen
import { expect, test } from 'vitest'
import { BranchTryCalls } from '../../../saga/coordinator/branch-try-calls.ts'
import type { EventApplier } from '../../../saga/coordinator/event-applier.ts'
import type { LoadedSaga } from '../../../saga/coordinator/loaded-saga.ts'
import type { CoordinatorRuntime } from '../../../saga/coordinator/runtime.ts'

const runtime: Partial<CoordinatorRuntime> = {}
const applier: Partial<EventApplier> = {}

function transactionWith(status: 'invoking' | 'refused'): LoadedSaga {
  const steps = [{ step: '1.withdraw', branch: 'withdraw', status, attempts: 1 }]
  return { row: { state: { status: 'running', steps } } } as unknown as LoadedSaga
}

test('a branch that was refused is not taken for one that is asked when an older read comes late', () => {
  const calls = new BranchTryCalls(runtime as CoordinatorRuntime, applier as EventApplier, {} as never)
  calls.seen(transactionWith('invoking'))
  expect(calls.known()).toMatchObject([{ step: '1.withdraw' }])
  calls.seen(transactionWith('refused'))
  expect(calls.known()).toEqual([])
  calls.seen(transactionWith('invoking'))
  expect(calls.known()).toEqual([])
})
