/**
 * The operator's side of a service's tables and declarations, without the service's code: records to read and settle, migrations
 * as SQL text, and the declarations of services. `@concordat/cli` builds the operator API and the command line on it.
 *
 * @module
 */
export { checkName } from '../binder/channel/channel.ts'
export { lagWithRetries, leavesOutHeld } from '../binder/consuming/failure/retry-destination.ts'
export { resolveSecrets } from '../bus/signature.ts'
export { readDeclarationsOnly, startedByUs } from '../core/declarations-only.ts'
export { requireNote, requireTarget } from '../saga/coordinator/operator-checks.ts'
export { remedyOf as preparedRemedy } from '../saga/xa/old-prepared-watch.ts'
export { OperatorOutcomeNotKept } from './errors.ts'
export { migrationParts, printGrants, printMigrations } from './migration-and-grant-sql.ts'
export { type OperatorRecords, operatorRecords } from './operator-records.ts'
export { type Describable, describeSystem, readSystem, type System } from './system/read-system.ts'
export type { SystemTopology } from './system/system.ts'
