/**
 * For your tests, with any runner: declared bindings at work in memory, with a clock that you move and faults on demand.
 * Nothing sleeps.
 *
 * @module
 */
export { createTestKit } from './kit.ts'
export type { TestKit } from './test-kit.ts'
