/** Distributed transactions: definitions, the coordinator that drives them, the participants in other services. */

export { type Coordinator, createCoordinator, type RunOptions } from './coordinator/coordinator.ts'
export type { LateStep, SagaHealth } from './coordinator/health.ts'
export type { ListFilter, OperatorNote, SagaTarget } from './coordinator/operators.ts'
export type { CoordinatorOptions, LateCommand, StuckSaga } from './coordinator/options.ts'
export type { Archive, ArchivedSaga } from './coordinator/retention.ts'
export type { SagaOutcome, SagaReport, SagaRun } from './coordinator/run.ts'
export type { StartOptions } from './coordinator/starter.ts'
export type { OutcomeOptions } from './coordinator/watch.ts'
export { type ForwardSagaBuilder, type SagaBuilder, type SagaGroup } from './definition/builder.ts'
export { defineSaga, type Saga, type SagaOptions } from './definition/definition.ts'
export {
  type CommandOptions,
  type CompensationContext,
  type ForwardCommandOptions,
  type ForwardStepOptions,
  type ForwardSubSagaOptions,
  type MessageSignalOptions,
  type RequestContext,
  type RetryOptions,
  type SignalOptions,
  type StepContext,
  type StepOptions,
  type SubSagaOptions,
  type TimerOptions,
  type WithTransaction,
} from './definition/step-options.ts'
export {
  CoordinatorClosed,
  OwnershipLost,
  Refusal,
  SagaActionRefused,
  SagaConflict,
  SagaGraphChanged,
  SagaInputUnreadable,
  SagaNotFound,
  SagaPayloadTooLarge,
  SagaPending,
  StepTimeout,
  type UnreadableSagas,
} from './errors.ts'
export type { Stored } from './json.ts'
export type { Transition, Wake } from './machine/draft.ts'
export type { OperatorAction, SagaEvent, TimelineEntry, TimelineKind } from './machine/event.ts'
export { advance } from './machine/machine.ts'
export {
  type Call,
  initialState,
  type Operation,
  type RetryPolicy,
  type SagaFailure,
  type SagaParent,
  type SagaShape,
  type SagaState,
  type SagaStatus,
  type StepFailure,
  type StepShape,
  type StepState,
  type StepStatus,
  type Wait,
} from './machine/state.ts'
export {
  type ParticipantContext,
  type ParticipantHandlers,
  type ParticipantOptions,
  participant,
} from './participant/participant.ts'
export type { SagaSummary, TimelineRow } from './store/store.ts'
export { migrateParticipant, purgeParticipant } from './store/tables.ts'
export { currentSaga, type SagaScope } from './wire/context.ts'
export { sagaHeaders } from './wire/headers.ts'
export { HEADERS as SAGA_HEADERS, type SagaReply, sagaReplies } from './wire/wire.ts'
