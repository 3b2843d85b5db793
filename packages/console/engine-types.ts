/** Types of the engine that no subpath exports: derived from the functions and objects that take or return them. */
import type { Binder, redrive } from 'concordat/binder'
import type { Bus } from 'concordat/bus'
import type { Locks } from 'concordat/locks'
import type { OperatorRecords, SystemTopology } from 'concordat/operator'
import type { Undo } from 'concordat/saga/undo'
import type { XaResource } from 'concordat/saga/xa'

type ReportWatch = Awaited<ReturnType<Bus['watch']>>
type OutboxAdmin = OperatorRecords['outbox']

export type BindingStatus = ReturnType<Binder['health']>['bindings'][number]
export type WatchedBinding = ReturnType<ReportWatch['instances']>[number]['bindings'][number]
export type RedriveReport = Awaited<ReturnType<typeof redrive>>

export type LockInfo = NonNullable<Awaited<ReturnType<Locks['inspect']>>>
export type OutboxStats = Awaited<ReturnType<OutboxAdmin['stats']>>
export type ParkedLine = Awaited<ReturnType<OutboxAdmin['parked']>>[number]
export type FailingLine = Awaited<ReturnType<OutboxAdmin['failing']>>[number]

export type PipelineStage = SystemTopology['services'][number]['pipelines'][number]['parts'][number]['stages'][number]
export type SagaActionResult = Awaited<ReturnType<OperatorRecords['sagas']['act']>>[number]

export type UndoTarget = Parameters<Undo['differences']>[1]
export type UndoChoice = Parameters<Undo['settle']>[2]
export type UndoDifference = Awaited<ReturnType<Undo['differences']>>[number]
export type OpenUndo = Awaited<ReturnType<Undo['open']>>[number]
export type PreparedTransaction = Awaited<ReturnType<XaResource['old']>>[number]
