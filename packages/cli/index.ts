/**
 * The operator API: shows and settles what waits for a person, with a service's database and without its code. The command line
 * and the console are built on it.
 *
 * @module
 */

export type { BusAdmin, BusOrder, OperatedBus } from './bus-admin.ts'
export type { ClusterAdmin, MemberLine } from './cluster-admin.ts'
export type {
  DeadLetterAdmin,
  DeadLetterDrop,
  DeadLetterFilter,
  DeadLetterListOptions,
  DeadLetterPageOptions,
  DeadLetterPlace,
  DeadLetterProgress,
  DeadLetterRedrive,
} from './dead-letter-types.ts'
export type { DoctorReport } from './doctor/doctor.ts'
export type { DoctorLine } from './doctor/line.ts'
export { type GroupLine, missingGroups } from './group-lag.ts'
export type { BindingLine, InstanceLine, InstancesView, InstanceWatch } from './instances.ts'
export type { LeaderAdmin, LeaderLine, LockAdmin } from './lock-admin.ts'
export { createOperator, type Operator, type OperatorOptions } from './operator.ts'
export {
  OperatorLettersOutOfReach,
  OperatorStoreMissing,
  OperatorTransportMissing,
} from './operator-errors.ts'
export type { AuditLine } from './read-audit.ts'
export type { SagaAdmin, SagaBulkReport, SagaStepView, SagaView } from './sagas/admin.ts'
export type { ChosenSaga, SagaBulk } from './sagas/saga-action-options.ts'
export type { SagaCounts, SagaFilter, SagaLine, SagaListOptions, SagaPage } from './sagas/saga-list.ts'
export { declaredPlaces } from './system/dead-letter-places.ts'
export { systemMermaid } from './system/mermaid.ts'
export { systemText } from './system/text.ts'
export type { UndoAdmin } from './undo-admin.ts'
