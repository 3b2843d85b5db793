/**
 * Distributed transactions: definitions, and the participants in other services. Coordinators are in `concordat/saga/coordinator`.
 *
 * @module
 */

export type { SagaReport, SagaRun } from './coordinator/saga-run.ts'
export type { ForwardSagaBuilder, SagaBuilder } from './definition/builder.ts'
export { defineSaga } from './definition/define-saga.ts'
export type { Saga } from './definition/saga-definition-types.ts'
export type { CompensationContext, RequestContext, StepContext, WithTransaction } from './definition/step-contexts.ts'
export { localTarget } from './direct/local-target.ts'
export type { DirectTarget } from './direct/target.ts'
export { Refusal, SagaError } from './errors.ts'
export type { Stored } from './json.ts'
export type { SagaFailure, SagaState } from './machine/state.ts'
export type { ParticipantContext } from './participant/context.ts'
export type { ParticipantOptions } from './participant/options.ts'
export { type ParticipantHandlers, participant } from './participant/participant.ts'
export type { SagaSummary, TimelineRow } from './store/store-types.ts'
export { migrateParticipant, purgeParticipant } from './store/tables.ts'
export { currentSaga, type SagaScope } from './wire/current-saga.ts'
export type { SagaReply } from './wire/reply.ts'
export { HEADERS as SAGA_HEADERS, sagaReplies } from './wire/wire.ts'
