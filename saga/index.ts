/**
 * Distributed transactions: definitions, the coordinator that drives them, the participants in other services.
 *
 * @module
 */

export { type Coordinator, createCoordinator, type RunOptions } from './coordinator/coordinator.ts'
export {
  currentGlobalTransaction,
  type GlobalTransaction,
  outsideGlobalTransaction,
} from './coordinator/global-transaction.ts'
export type { LateStep, SagaHealth } from './coordinator/health.ts'
export type { OperatorNote, SagaTarget } from './coordinator/operators.ts'
export type { CoordinatorOptions, LateCommand, StuckSaga } from './coordinator/options.ts'
export type { GlobalTransactionRunOptions, Propagation } from './coordinator/propagation.ts'
export type { Archive, ArchivedSaga } from './coordinator/retention.ts'
export type { SagaOutcome, SagaReport, SagaRun } from './coordinator/run.ts'
export type { StartOptions } from './coordinator/starter.ts'
export type { UnarchivedSaga } from './coordinator/unarchived.ts'
export type { OutcomeOptions } from './coordinator/watch.ts'
export type { ForwardSagaBuilder, ForwardSagaGroup, SagaBuilder, SagaGroup } from './definition/builder.ts'
export { defineSaga } from './definition/definition.ts'
export {
  type Branch,
  type BranchOptions,
  defineBranch,
  defineGlobalTransaction,
  type GlobalTransactionDefinition,
  type GlobalTransactionOptions,
} from './definition/global-transaction.ts'
export type { CommandOptions, ForwardCommandOptions } from './definition/kinds/command.ts'
export type {
  EachCommandOptions,
  EachList,
  EachSagaOptions,
  EachStepOptions,
  EachTccCommandOptions,
  EachTccStepOptions,
  ForwardEachCommandOptions,
  ForwardEachSagaOptions,
  ForwardEachStepOptions,
} from './definition/kinds/each.ts'
export type { ListItem } from './definition/kinds/kind.ts'
export type { ForwardStepOptions, StepOptions } from './definition/kinds/local.ts'
export type { MessageSignalOptions, SignalOptions } from './definition/kinds/signal.ts'
export type { ForwardSubSagaOptions, SubSagaOptions } from './definition/kinds/sub-saga.ts'
export type {
  TccCancelContext,
  TccCommandOptions,
  TccConfirmContext,
  TccStepOptions,
} from './definition/kinds/tcc.ts'
export type { TimerOptions } from './definition/kinds/timer.ts'
export type { Saga } from './definition/saga.ts'
export type { CompensationContext, RequestContext, StepContext, WithTransaction } from './definition/step-contexts.ts'
export type {
  RetryOptions,
  SagaOptions,
} from './definition/step-options.ts'
export { type LocalTargetOptions, localTarget } from './direct/local-target.ts'
export type { DirectAnswer, DirectAsking, DirectProblem, DirectRequest, DirectTarget } from './direct/target.ts'
export {
  BranchFailed,
  BranchRefused,
  CoordinatorClosed,
  GlobalTransactionCancelled,
  GlobalTransactionEnded,
  GlobalTransactionStuck,
  OwnershipLost,
  Refusal,
  SagaActionRefused,
  SagaConflict,
  SagaGraphChanged,
  SagaInputUnreadable,
  SagaNotFound,
  SagaOtherShard,
  SagaPayloadTooLarge,
  SagaPending,
  SagaResultUnreadable,
  SagaShardsChanged,
  SagaShardsMismatch,
  SagaStepRole,
  StepTimeout,
  TransactionNotHere,
  type UnreadableSagas,
} from './errors.ts'
export { type AskedCommand, type HttpParticipantsOptions, httpParticipants } from './http/participants.ts'
export {
  type InheritsTransaction,
  transactionFetch,
  transactionHeaders,
  transactionMiddleware,
} from './http/propagating.ts'
export { bearer, type HttpAsking, type HttpAuthorize } from './http/serving.ts'
export type { HttpCall, HttpHeaders, HttpSettings, HttpUrl } from './http/settings.ts'
export { type HttpTarget, type HttpTargetOptions, httpTarget } from './http/target.ts'
export type { Stored } from './json.ts'
export type { Transition, Wake } from './machine/draft.ts'
export type { OperatorAction, SagaEvent, TimelineEntry, TimelineKind } from './machine/event.ts'
export { advance } from './machine/machine.ts'
export type { Operation } from './machine/operation.ts'
export {
  type Call,
  type Choice,
  type EachShape,
  type GrownStep,
  initialState,
  type RetryPolicy,
  type SagaFailure,
  type SagaParent,
  type SagaShape,
  type SagaState,
  type SagaStatus,
  type Script,
  type ScriptTurn,
  type StepFailure,
  type StepShape,
  type StepState,
  type StepStatus,
  type Wait,
} from './machine/state.ts'
export type { ParticipantContext } from './participant/command-handler.ts'
export type { ParticipantOptions } from './participant/options.ts'
export { type ParticipantHandlers, participant } from './participant/participant.ts'
export { createShardedCoordinator } from './sharding/create-sharded-coordinator.ts'
export type { ShardedCoordinatorOptions, ShardOptions } from './sharding/options.ts'
export type { ShardedCoordinator, ShardedHealth, ShardedSummary } from './sharding/sharded-coordinator.ts'
export type { ExceptionClass } from './state-language/exceptions.ts'
export {
  importStateMachine,
  type StateMachineOptions,
  type StateMachineSaga,
  type StateMachineService,
} from './state-language/import.ts'
export type { Verdict } from './state-language/machine.ts'
export type { StateExecution, StateMachineOutcome } from './state-language/script.ts'
export type { ListFilter, SagaSummary, TimelineRow } from './store/rows.ts'
export { migrateParticipant, purgeParticipant } from './store/tables.ts'
export {
  type TccHandlers,
  type TccParticipantContext,
  type TccParticipantOptions,
  tccParticipant,
} from './tcc/participant.ts'
export type {
  OpenUndo,
  ProtectedTable,
  ProtectTable,
  Undo,
  UndoChoice,
  UndoOptions,
  UndoRetryOptions,
  UndoTarget,
} from './undo/contract.ts'
export {
  UndoBranchNotFound,
  UndoConflict,
  type UndoDifference,
  UndoNotProtected,
  UndoTableRefused,
} from './undo/errors.ts'
export { type UndoHandler, type UndoParticipantOptions, undoParticipant } from './undo/participant.ts'
export { undo } from './undo/undo.ts'
export { currentSaga, type SagaScope } from './wire/context.ts'
export { sagaHeaders } from './wire/headers.ts'
export type { SagaReply } from './wire/reply.ts'
export {
  type AnyHeaders,
  TRANSACTION_HEADER,
  TransactionHeaderInvalid,
} from './wire/transaction-header.ts'
export { HEADERS as SAGA_HEADERS, sagaReplies } from './wire/wire.ts'
export {
  type XaContext,
  type XaHandler,
  type XaParticipantOptions,
  type XaResourceOptions,
  xaParticipant,
} from './xa/participant.ts'
export type { GateState, PreparedTransaction, XaCall, XaPassage, XaResource } from './xa/resource.ts'
