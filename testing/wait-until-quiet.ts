import type { Activity } from './activity.ts'

/** Many more handler calls, publishes and deliveries at one time of the clock than any test makes. */
const MOST_EVENTS = 300_000
/** The kit is quiet after this many turns of the event loop without an event. */
const QUIET_TURNS = 3

export const NO_END = 'There seems to be no end: does a message send itself?'

/** Waits until nothing more happens at the current time of the clock. */
export class Quiet {
  readonly #activity: Activity
  readonly #patienceMs: number

  /**
   * @param patienceMs maximum wait for calls that do not end, in real time
   */
  constructor(activity: Activity, patienceMs: number) {
    this.#activity = activity
    this.#patienceMs = patienceMs
  }

  /** Runs until nothing more happens at this time of the clock. @throws Error when a call does not end */
  async still(): Promise<void> {
    const { running, isInTime } = await this.#quiet(() => this.#activity.running.length > 0)
    if (isInTime) return
    throw new Error(
      `not settled, still running after ${this.#patienceMs} ms: ${running.join(', ')}. ` +
        'If it waits for the clock of the kit, call advance(), which does not wait for it, and not settled().',
    )
  }

  /** Like `untilQuiet`, but does not wait for calls that wait for the clock or that exceed the time limit. */
  async atRest(): Promise<void> {
    const { isInTime } = await this.#quiet(() => this.#activity.isBusy)
    if (!isInTime) this.#activity.giveUp()
  }

  /** Runs until nothing more happens and nothing is `busy`, or the time limit is reached. @throws Error when there is no end */
  async #quiet(isBusy: () => boolean): Promise<{ readonly isInTime: boolean; readonly running: readonly string[] }> {
    const deadline = performance.now() + this.#patienceMs
    const first = this.#activity.events
    let before = -1
    for (let quiet = 0; quiet < QUIET_TURNS; ) {
      await turn()
      const { events } = this.#activity
      const busy = isBusy()
      quiet = events === before && !busy ? quiet + 1 : 0
      before = events
      if (events - first > MOST_EVENTS) throw new Error(`not settled after ${MOST_EVENTS} events. ${NO_END}`)
      if (busy && performance.now() >= deadline) return { isInTime: false, running: this.#activity.running }
    }
    return { isInTime: true, running: [] }
  }
}

/** Resolves after all ready callbacks have run. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
