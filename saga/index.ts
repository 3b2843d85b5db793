/** Distributed transactions: definitions, the coordinator that drives them, the participants in other services. */

export { type ForwardSagaBuilder, type SagaBuilder, type SagaGroup } from './builder.ts'
export { currentSaga, type SagaScope } from './context.ts'
export { type Coordinator, createCoordinator, type RunOptions } from './coordinator.ts'
export { defineSaga, type Saga, type SagaOptions } from './definition.ts'
export type { Transition, Wake } from './draft.ts'
export {
  CoordinatorClosed,
  OwnershipLost,
  Refusal,
  SagaActionRefused,
  SagaConflict,
  SagaGraphChanged,
  SagaNotFound,
  SagaPayloadTooLarge,
  SagaPending,
  StepTimeout,
} from './errors.ts'
export type { OperatorAction, SagaEvent, TimelineEntry, TimelineKind } from './event.ts'
export { sagaHeaders } from './headers.ts'
export type { SagaHealth } from './health.ts'
export type { Stored } from './json.ts'
export { advance } from './machine.ts'
export type { ListFilter, OperatorNote, SagaTarget } from './operators.ts'
export type { CoordinatorOptions, StuckSaga } from './options.ts'
export {
  type ParticipantContext,
  type ParticipantHandlers,
  type ParticipantOptions,
  participant,
} from './participant.ts'
export type { Archive, ArchivedSaga } from './retention.ts'
export type { SagaOutcome, SagaReport, SagaRun } from './run.ts'
export type { StartOptions } from './starter.ts'
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
} from './state.ts'
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
} from './step-options.ts'
export type { SagaSummary, TimelineRow } from './store.ts'
export { migrateParticipant, purgeParticipant } from './tables.ts'
export type { OutcomeOptions } from './watch.ts'
export { HEADERS as SAGA_HEADERS, type SagaReply, sagaReplies } from './wire.ts'
