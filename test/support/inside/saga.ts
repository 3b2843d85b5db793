/** Names of `saga/` that only tests write: no subpath exports them. */
// oxlint-disable no-restricted-imports -- users need not write these names, tests do
export type { ArchivedSaga } from '../../../saga/coordinator/archive-types.ts'
export type { CoordinatorOptions, StuckSaga } from '../../../saga/coordinator/options.ts'
export type { SagaOutcome } from '../../../saga/coordinator/saga-run.ts'
export type { SagaOptions } from '../../../saga/definition/step-options.ts'
export type { LocalTargetOptions } from '../../../saga/direct/local-target.ts'
export type { DirectAnswer, DirectTarget } from '../../../saga/direct/target.ts'
export type { HttpTargetOptions } from '../../../saga/http/http-target.ts'
export type { HttpParticipantsOptions } from '../../../saga/http/participants.ts'
export type { SagaEvent } from '../../../saga/machine/event.ts'
export { advance } from '../../../saga/machine/machine.ts'
export type { Operation } from '../../../saga/machine/operation.ts'
export {
  type Call,
  initialState,
  type RetryPolicy,
  type SagaShape,
  type StepShape,
} from '../../../saga/machine/state.ts'
export type { Transition } from '../../../saga/machine/transition-draft.ts'
export type { ShardedCoordinatorOptions, ShardOptions } from '../../../saga/sharding/options.ts'
export type { SagaSummary } from '../../../saga/store/store-types.ts'
export type { TccParticipantOptions } from '../../../saga/tcc/participant.ts'
export type { Story } from '../../../saga/testing/story.ts'
export type { UndoHandler } from '../../../saga/undo/participant.ts'
export type { OpenUndo } from '../../../saga/undo/undo-types.ts'
export type { SagaScope } from '../../../saga/wire/current-saga.ts'
export { sagaHeaders } from '../../../saga/wire/current-saga-headers.ts'
export { type CommandHeaders, readCommandHeaders } from '../../../saga/wire/wire.ts'
export type { XaHandler } from '../../../saga/xa/participant.ts'
export type { PreparedTransaction } from '../../../saga/xa/resource.ts'
