/**
 * What operators and deployments need of a service's database, without the service's code.
 *
 * @module
 */
export type { AuditLine, AuditOptions } from './audit.ts'
export type { BusAdmin, BusListening, BusOrder, BusReport, OperatedBus } from './bus.ts'
export type { ClusterAdmin, MemberLine, OperatedCluster, StateLine } from './cluster.ts'
export type { DoctorReport } from './doctor/doctor.ts'
export type { DoctorLine } from './doctor/line.ts'
export {
  OperatorLettersOutOfReach,
  OperatorOutcomeNotKept,
  OperatorStoreMissing,
  OperatorTransportMissing,
} from './errors.ts'
export type { GroupLine } from './groups.ts'
export type { BindingLine, InstanceLine, InstancesView, InstanceWatch } from './instances.ts'
export type {
  DeadLetterAdmin,
  DeadLetterDrop,
  DeadLetterFilter,
  DeadLetterListOptions,
  DeadLetterPage,
  DeadLetterPageOptions,
  DeadLetterPlace,
  DeadLetterProgress,
  DeadLetterRedrive,
  GroupBacklog,
  OpenTransport,
} from './letters.ts'
export type { LeaderAdmin, LeaderLine, LockAdmin, OperatedLocks } from './locks.ts'
export {
  type GrantPrintOptions,
  type MigrationPrintOptions,
  migrationParts,
  printGrants,
  printMigrations,
} from './migrations.ts'
export { createOperator, type Operator, type OperatorOptions } from './operator.ts'
export type { FailingLine, OutboxAdmin, ParkedLine } from './outbox.ts'
export type { OperatedResource } from './prepared.ts'
export type { SagaActionResult } from './sagas/actions.ts'
export type { SagaAdmin, SagaBulk, SagaBulkReport, SagaSeen, SagaStepView, SagaView, SagaWait } from './sagas/admin.ts'
export type { SagaCounts, SagaFilter, SagaLine, SagaListOptions, SagaPage } from './sagas/lines.ts'
export { systemMermaid } from './system/mermaid.ts'
export { type Describable, describeSystem } from './system/read-system.ts'
export type {
  SystemBinding,
  SystemChannel,
  SystemSaga,
  SystemSchedule,
  SystemService,
  SystemStep,
  SystemTopology,
} from './system/system.ts'
export { systemText } from './system/text.ts'
export type { UndoAdmin } from './undo.ts'
export type { InboxCount, MigrationApplyOptions, MigrationState } from './upkeep.ts'
