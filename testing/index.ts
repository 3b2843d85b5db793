/**
 * Test tools that work with any runner. `createTestKit` runs declared bindings in memory, with a clock that the test moves and
 * faults on demand; nothing sleeps. `given` and `explore` run a saga definition on the pure state machine, without a database,
 * broker or clock.
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
