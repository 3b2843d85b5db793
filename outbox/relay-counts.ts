import type { Clock } from '../core/clock.ts'
import type { WindowResult } from './publish-window.ts'
import { RepeatedFailures } from './repeated-failures.ts'
import type { RelayTelemetry } from './telemetry.ts'

/** Counts what one relay has published, for its health and metrics. */
export class RelayCounts {
  readonly #failures: RepeatedFailures
  readonly #telemetry: RelayTelemetry | undefined
  #totals = { published: 0, failed: 0, lagMs: 0 }

  /** @param longestPauseMs maximum pause between two attempts of a message */
  constructor(clock: Clock, longestPauseMs: number, telemetry: RelayTelemetry | undefined) {
    this.#failures = new RepeatedFailures(clock, longestPauseMs)
    this.#telemetry = telemetry
  }

  get totals(): { readonly published: number; readonly failed: number; readonly lagMs: number } {
    return this.#totals
  }

  /** Last error of a message that fails repeatedly. */
  get lastingFailure(): string | undefined {
    return this.#failures.lasting
  }

  /** @param lagMs age of the first row of the window */
  add(result: WindowResult, lagMs: number): void {
    const { published, failed } = this.#totals
    this.#failures.settled(result)
    this.#totals = { published: published + result.confirmed.length, failed: failed + result.failed.length, lagMs }
    this.#telemetry?.window(result, lagMs)
  }
}
