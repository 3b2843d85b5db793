/** For your tests: a saga's definition on the pure machine, without database, broker or time. */
export { type Exploration, type ExploredRun, type ExploreOptions, explore, type PlannedFault } from './explore.ts'
export {
  done,
  due,
  expired,
  failed,
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
