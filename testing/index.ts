/**
 * For your tests, with any runner: declared bindings at work in memory, with a clock that you move and faults on demand.
 * Nothing sleeps.
 *
 * @module
 */
export type { DeadLetter } from '../binder/redrive/letter.ts'
export type { PublishFault } from './faulty-transport.ts'
export { createTestKit } from './kit.ts'
export type { Output, TestKit, TestKitOptions } from './test-kit.ts'
