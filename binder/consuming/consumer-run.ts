import { lastingContext } from '../../core/async-contexts.ts'

/** A period of a consumer from start to stop; events of an earlier one are ignored. */
export class ConsumerRun {
  over = false
  /** Aborts when the binding stops. */
  readonly stopping: AbortController = new AbortController()
  /** Aborts when the drain's time limit passes. */
  readonly drain: AbortController = new AbortController()
  /** Context of the consumer's start. A delivery may come from any context: in memory from inside the sender's lock or saga. */
  readonly context: <T>(work: () => T) => T = lastingContext()
}
