/**
 * For your tests, with any runner. `createTestKit`: declared bindings at work in memory, with a clock that you move and faults on
 * demand; nothing sleeps. `given` and `explore`: a saga's definition on the pure machine, without database, broker or time.
 *
 * @module
 */
export type { SagaEvent } from '../saga/machine/event.ts'
export { type Exploration, explore } from '../saga/testing/explore.ts'
export {
  attemptFailed,
  done,
  due,
  expired,
  given,
  omitted,
  operator,
  refused,
  type Story,
  signalled,
  undone,
} from '../saga/testing/story.ts'
export { createTestKit } from './kit.ts'
export type { TestKit } from './test-kit.ts'
