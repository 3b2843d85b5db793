/**
 * For your tests: a saga's definition on the pure machine, without database, broker or time.
 *
 * @module
 */

export type { SagaEvent } from '../machine/event.ts'
export { type Exploration, explore } from './explore.ts'
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
} from './story.ts'
