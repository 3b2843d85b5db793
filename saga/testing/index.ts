/**
 * For your tests: a saga's definition on the pure machine, without database, broker or time.
 *
 * @module
 */
export { type Exploration, type ExploredRun, type ExploreOptions, explore } from './explore.ts'
export type { PlannedFault } from './faults.ts'
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
  type StoryCall,
  signalled,
  undone,
} from './story.ts'
export type { Fault } from './world.ts'
