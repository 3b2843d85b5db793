/**
 * A service made of all parts, which are created, migrated, started, monitored and closed together.
 *
 * @module
 */

export type { SignalHandling } from './close-on-signals.ts'
export { closeOnSignals } from './close-on-signals.ts'
export { createService } from './create-service.ts'
export { ServiceClosed, ServiceNotReady } from './errors.ts'
export type { ServiceHealth } from './health.ts'
export { type HttpProblem, httpProblem } from './http-problem.ts'
export type { Service, ServiceDeclaration, ServiceOptions, ServiceTransaction } from './service.ts'
