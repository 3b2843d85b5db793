/**
 * Simulates whole systems of services in a world of their own, with faults drawn from a seed. For your tests, with any test
 * runner.
 *
 * @module
 */
export type { CoveredPoint } from './fault-coverage.ts'
export type { FaultKind, SimulatedFault } from './faults.ts'
export { simulate } from './simulate.ts'
export {
  type PlayedHistory,
  type SimulatedDatabase,
  type SimulatedInstance,
  type SimulatedService,
  type SimulatedWorld,
  SimulationFailed,
  type SimulationOptions,
  type SimulationReport,
} from './simulate-options.ts'
