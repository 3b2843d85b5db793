/** Metrics of locks. Created only with the option `telemetry`. No metric contains a key, because their number is unbounded. */
import type { Clock } from '../core/clock.ts'
import { errorType, type Measure, type Telemetry, type TelemetryAttributes } from '../core/telemetry-interface.ts'
import type { Lease } from './lock.ts'
import type { ClaimTerms } from './store.ts'

const WAIT = {
  name: 'concordat.lock.wait.duration',
  unit: 's',
  description: 'From the wish for a lock to the lease, or to the refusal',
}
const HOLD = { name: 'concordat.lock.hold.duration', unit: 's', description: 'From the lease to its end' }
const LOST = {
  name: 'concordat.lock.lost',
  unit: '{lease}',
  description: 'Leases that ended before they were released',
}
const HELD = { name: 'concordat.lock.held', unit: '{lease}', description: 'Leases that this process holds' }
const WAITING = {
  name: 'concordat.lock.waiting',
  unit: '{waiter}',
  description: 'Those of this process that wait in line',
}

/** Data of a lease at its end. */
interface Ended {
  readonly lost: { readonly reason: string } | undefined
}

export class LocksTelemetry {
  readonly #telemetry: Telemetry
  readonly #clock: Clock
  readonly #wait: Measure
  readonly #hold: Measure
  readonly #lost: Measure
  readonly #stop: () => void

  constructor(telemetry: Telemetry, clock: Clock, counts: () => { readonly held: number; readonly waiting: number }) {
    this.#telemetry = telemetry
    this.#clock = clock
    this.#wait = telemetry.histogram(WAIT)
    this.#hold = telemetry.histogram(HOLD)
    this.#lost = telemetry.counter(LOST)
    this.#stop = telemetry.gauges([HELD, WAITING], () => {
      const { held, waiting } = counts()
      return [
        { name: HELD.name, value: held },
        { name: WAITING.name, value: waiting },
      ]
    })
  }

  /** Records a span for the acquisition, and its duration. */
  async acquiring<T extends Lease | undefined>(key: string, terms: ClaimTerms, acquire: () => Promise<T>): Promise<T> {
    const mode = modeOf(terms)
    const attributes = { 'concordat.lock.key': key, ...mode }
    const span = this.#telemetry.span('acquire lock', { kind: 'client', parent: 'active', attributes })
    const begun = this.#clock.monotonic()
    const ended = (outcome: TelemetryAttributes): void =>
      this.#wait((this.#clock.monotonic() - begun) / 1_000, { ...mode, ...outcome })
    try {
      const lease = await span.run(acquire)
      ended({ 'concordat.outcome': lease === undefined ? 'busy' : 'granted' })
      if (lease !== undefined) span.set({ 'concordat.lock.token': lease.token })
      span.end()
      return lease
    } catch (error) {
      ended({ 'concordat.outcome': 'failed', 'error.type': errorType(error) })
      span.end(error)
      throw error
    }
  }

  /** @returns a function to call at the end of the lease, and again if that turns out to be a loss */
  holding(terms: ClaimTerms): (lease: Ended) => void {
    const mode = modeOf(terms)
    const begun = this.#clock.monotonic()
    let isEnded = false
    let isLost = false
    return ({ lost }) => {
      if (!isEnded) this.#hold((this.#clock.monotonic() - begun) / 1_000, mode)
      isEnded = true
      if (lost !== undefined && !isLost) this.#lost(1, { ...mode, 'concordat.reason': lost.reason })
      isLost ||= lost !== undefined
    }
  }

  close(): void {
    this.#stop()
  }
}

function modeOf({ mode, limit }: ClaimTerms): TelemetryAttributes {
  return { 'concordat.lock.mode': mode === 'shared' && limit !== Number.POSITIVE_INFINITY ? 'permits' : mode }
}
