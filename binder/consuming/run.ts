import { lastingContext } from '../../core/ambient.ts'

/** One span of a consumer from start to stop; what belongs to an older one is stale. */
export class Run {
  over = false
  /** Aborts when the binding stops. */
  readonly stopping: AbortController = new AbortController()
  /** Aborts when the drain ran out of time. */
  readonly drain: AbortController = new AbortController()
  /** Around whoever started it. A delivery may come in from anywhere: in memory from inside the sender's lock or saga. */
  readonly context: <T>(work: () => T) => T = lastingContext()
}
