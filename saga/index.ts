/**
 * Distributed transactions: definitions, the coordinator that drives them, the participants in other services.
 *
 * @module
 */

export { type Coordinator, createCoordinator, type RunOptions } from './coordinator/coordinator.ts'
export type { LateStep, SagaHealth } from './coordinator/health.ts'
export type { OperatorNote, SagaTarget } from './coordinator/operators.ts'
export type { CoordinatorOptions, LateCommand, StuckSaga } from './coordinator/options.ts'
export type { Archive, ArchivedSaga } from './coordinator/retention.ts'
export type { SagaOutcome, SagaReport, SagaRun } from './coordinator/run.ts'
export type { StartOptions } from './coordinator/starter.ts'
export type { UnarchivedSaga } from './coordinator/unarchived.ts'
export type { OutcomeOptions } from './coordinator/watch.ts'
export type { ForwardSagaBuilder, ForwardSagaGroup, SagaBuilder, SagaGroup } from './definition/builder.ts'
export { defineSaga } from './definition/definition.ts'
export type { CommandOptions, ForwardCommandOptions } from './definition/kinds/command.ts'
export type {
  EachCommandOptions,
  EachList,
  EachSagaOptions,
  EachStepOptions,
  ForwardEachCommandOptions,
  ForwardEachSagaOptions,
  ForwardEachStepOptions,
} from './definition/kinds/each.ts'
export type { ListItem } from './definition/kinds/kind.ts'
export type { ForwardStepOptions, StepOptions } from './definition/kinds/local.ts'
export type { MessageSignalOptions, SignalOptions } from './definition/kinds/signal.ts'
export type { ForwardSubSagaOptions, SubSagaOptions } from './definition/kinds/sub-saga.ts'
export type { TimerOptions } from './definition/kinds/timer.ts'
export type { Saga } from './definition/saga.ts'
export type { CompensationContext, RequestContext, StepContext, WithTransaction } from './definition/step-contexts.ts'
export type { RetryOptions, SagaOptions } from './definition/step-options.ts'
export { type LocalTargetOptions, localTarget } from './direct/local-target.ts'
export type { DirectAnswer, DirectAsking, DirectProblem, DirectRequest, DirectTarget } from './direct/target.ts'
export { Refusal, SagaError, type SagaErrors, type UnreadableSagas } from './errors.ts'
export type { Stored } from './json.ts'
export type { OperatorAction, TimelineEntry, TimelineKind } from './machine/event.ts'
export type { SagaFailure, SagaState, SagaStatus, StepFailure, StepState, StepStatus } from './machine/state.ts'
export type { ParticipantContext } from './participant/command-handler.ts'
export type { ParticipantOptions } from './participant/options.ts'
export { type ParticipantHandlers, participant } from './participant/participant.ts'
export type { ListFilter, SagaSummary, TimelineRow } from './store/rows.ts'
export { migrateParticipant, purgeParticipant } from './store/tables.ts'
export { currentSaga, type SagaScope } from './wire/context.ts'
export { sagaHeaders } from './wire/headers.ts'
export type { SagaReply } from './wire/reply.ts'
export { HEADERS as SAGA_HEADERS, sagaReplies } from './wire/wire.ts'
