/**
 * For your tests, with any runner: declared bindings at work in memory, with a clock that you move and faults on demand;
 * and whole systems of services in a world of their own, with every fault that a seed draws. Nothing sleeps.
 *
 * @module
 */
export type { DeadLetter } from '../binder/redrive/letter.ts'
export type { PublishFault } from './faulty-transport.ts'
export { createTestKit } from './kit.ts'
export type { CoveredPoint } from './simulation/coverage.ts'
export type { FaultKind, SimulatedFault } from './simulation/faults.ts'
export { simulate } from './simulation/simulate.ts'
export {
  type PlayedHistory,
  type SimulatedDatabase,
  type SimulatedInstance,
  type SimulatedService,
  type SimulatedWorld,
  SimulationFailed,
  type SimulationOptions,
  type SimulationReport,
} from './simulation/simulation.ts'
export type { Output, TestKit, TestKitOptions } from './test-kit.ts'
