import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/logger.ts'
import type { BusCounters, BusDropReason } from './bus.ts'
import type { BusTelemetry } from './telemetry.ts'

const LOG_EVERY_MS = 1_000

export class Counters {
  published = 0
  received = 0
  handled = 0
  failed = 0
  refused = 0
  ignored = 0
  duplicates = 0
  notAddressed = 0
  gaps = 0
  readonly #dropped: Record<BusDropReason, number> = {
    malformed: 0,
    unsupported: 0,
    unsigned: 0,
    forged: 0,
    stale: 0,
    too_large: 0,
  }
  readonly #loggedAt = new Map<BusDropReason, number>()
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #telemetry: BusTelemetry | undefined

  /** @param telemetry also counts dropped messages */
  constructor(clock: Clock, logger: Logger, telemetry?: BusTelemetry) {
    this.#telemetry = telemetry
    this.#clock = clock
    this.#logger = logger
  }

  /**
   * Counts a drop, and logs at most one line per second and reason, because a flood may have millions. Never logs the payload.
   */
  dropped(reason: BusDropReason, fields: Readonly<Record<string, unknown>>): void {
    const count = ++this.#dropped[reason]
    this.#telemetry?.dropped(reason)
    const now = this.#clock.monotonic()
    if (now - (this.#loggedAt.get(reason) ?? Number.NEGATIVE_INFINITY) < LOG_EVERY_MS) return
    this.#loggedAt.set(reason, now)
    this.#logger.warn({ ...fields, reason, count }, 'bus: message dropped')
  }

  snapshot(): BusCounters {
    const { published, received, handled, failed, refused, ignored, duplicates, notAddressed, gaps } = this
    const dropped = { ...this.#dropped }
    return { published, received, handled, failed, refused, ignored, duplicates, notAddressed, gaps, dropped }
  }
}
