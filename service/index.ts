/**
 * One service out of all parts: made, migrated, started, watched and closed together.
 *
 * @module
 */
export { type Closable, type CloseOnSignalsOptions, closeOnSignals, type SignalHandling } from './close-on-signals.ts'
export { createService } from './create-service.ts'
export { ServiceClosed, ServiceNotReady } from './errors.ts'
export type { PartHealth, ServiceHealth } from './health.ts'
export { type HttpProblem, httpProblem } from './http-problem.ts'
export type { PartOptions, PreparedOptions } from './part-options.ts'
export type {
  CloseOptions,
  LeaderWork,
  Service,
  ServiceCluster,
  ServiceDeclaration,
  ServiceIdentity,
  ServiceOptions,
  ServiceSchedule,
  ServiceTransaction,
  StateOptions,
} from './service.ts'
