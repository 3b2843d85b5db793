/**
 * For your tests, with any runner: whole systems of services in a world of their own, with every fault that a seed draws.
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
