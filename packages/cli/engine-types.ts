/** Types of the engine without a public name, derived from the functions and objects that accept or return them. */
import type { redrive } from 'concordat/binder'
import type { rabbitTransport } from 'concordat/binder/rabbitmq'
import type { Bus } from 'concordat/bus'
import type { ClusterStore, Transport } from 'concordat/extension'
import type { Locks } from 'concordat/locks'
import type { OperatorRecords, SystemTopology } from 'concordat/operator'
import type { Outbox } from 'concordat/outbox'
import type { SagaReply, SagaState } from 'concordat/saga'
import type { Coordinator } from 'concordat/saga/coordinator'
import type { Undo } from 'concordat/saga/undo'
import type { XaResource } from 'concordat/saga/xa'

export type Address = Awaited<ReturnType<Bus['members']>>[number]
export type ReportWatchOptions = NonNullable<Parameters<Bus['watch']>[0]>
export type ReportWatch = Awaited<ReturnType<Bus['watch']>>
export type WatchedInstance = ReturnType<ReportWatch['instances']>[number]
export type WatchedBinding = WatchedInstance['bindings'][number]

export type GroupPlace = Parameters<NonNullable<Transport['lag']>>[0]
export type RabbitPlace = NonNullable<NonNullable<Parameters<typeof rabbitTransport>[0]>['places']>[string]
type RedriveOptions = NonNullable<Parameters<typeof redrive>[3]>
export type RedriveReport = Awaited<ReturnType<typeof redrive>>
export type RedriveCounts = Parameters<NonNullable<RedriveOptions['onProgress']>>[0]
export type RedriveAfter = NonNullable<RedriveOptions['after']>

export type LockInfo = NonNullable<Awaited<ReturnType<Locks['inspect']>>>
export type ListOptions = NonNullable<Parameters<Locks['list']>[0]>
export type ForcedRelease = Awaited<ReturnType<Locks['forceRelease']>>
export type MemberRecord = Parameters<ClusterStore['restore']>[1][number]

export type OutboxAdmin = OperatorRecords['outbox']
export type OutboxStats = Awaited<ReturnType<OutboxAdmin['stats']>>
export type ParkedLine = Awaited<ReturnType<OutboxAdmin['parked']>>[number]
export type FailingLine = Awaited<ReturnType<OutboxAdmin['failing']>>[number]
export type HeldMessage = Exclude<Parameters<Outbox['retry']>[0], string>

export type OperatorTrail = OperatorRecords['trail']
export type MigrationState = Awaited<ReturnType<OperatorRecords['migrations']>>[number]
export type MigrationApplyOptions = Parameters<OperatorRecords['migrate']>[0]

export type SystemChannel = SystemTopology['channels'][number]
export type SystemService = SystemTopology['services'][number]
export type SystemBinding = SystemService['bindings'][number]
export type SystemSaga = SystemService['sagas'][number]
export type SystemStep = SystemSaga['steps'][number]
export type PipelineStage = SystemService['pipelines'][number]['parts'][number]['stages'][number]

export type Operation = SagaReply['operation']
export type OperatorAction = Parameters<OperatorRecords['sagas']['statusFor']>[0]
export type SagaActionResult = Awaited<ReturnType<OperatorRecords['sagas']['act']>>[number]
export type SagaTarget = Parameters<Coordinator['report']>[0]
export type SagaStatus = SagaState['status']
export type SagaFailure = NonNullable<SagaState['failure']>
export type StepState = SagaState['steps'][number]
export type TimelineRow = Awaited<ReturnType<Coordinator['report']>>['timeline'][number]

export type UndoTarget = Parameters<Undo['differences']>[1]
export type UndoChoice = Parameters<Undo['settle']>[2]
export type UndoDifference = Awaited<ReturnType<Undo['differences']>>[number]
export type OpenUndo = Awaited<ReturnType<Undo['open']>>[number]

export type PreparedTransaction = Awaited<ReturnType<XaResource['old']>>[number]
