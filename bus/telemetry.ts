/** Metrics of a bus. Created only with the option `telemetry`. The binder records the spans of its messages. */
import type { Clock } from '../core/clock.ts'
import { errorType, type Measure, type Telemetry } from '../core/telemetry-interface.ts'
import type { Acknowledgement } from './bus.ts'

const HANDLED = {
  name: 'concordat.bus.handled',
  unit: '{event}',
  description: 'Events for this instance by what became of them: acked, failed, ignored',
}
const DROPPED = {
  name: 'concordat.bus.dropped',
  unit: '{message}',
  description: 'Messages that were not believed, by reason',
}
const PUBLISH = {
  name: 'concordat.bus.publish.duration',
  unit: 's',
  description: 'Of a publish, with the wait for answers if one was asked for',
}
const MEMBERS = {
  name: 'concordat.bus.members',
  unit: '{instance}',
  description: 'Live instances, as this one knows them',
}

export class BusTelemetry {
  readonly #clock: Clock
  readonly #handled: Measure
  readonly #dropped: Measure
  readonly #publish: Measure
  readonly #telemetry: Telemetry

  constructor(telemetry: Telemetry, clock: Clock) {
    this.#telemetry = telemetry
    this.#clock = clock
    this.#handled = telemetry.counter(HANDLED)
    this.#dropped = telemetry.counter(DROPPED)
    this.#publish = telemetry.histogram(PUBLISH)
  }

  /** @param event name of a handled event, or `(ignored)`, because foreign names are unbounded */
  handled(event: string, outcome: string): void {
    this.#handled(1, { 'concordat.bus.event': event, 'concordat.outcome': outcome })
  }

  dropped(reason: string): void {
    this.#dropped(1, { 'concordat.reason': reason })
  }

  async publishing<T extends Acknowledgement | { readonly id: string }>(
    event: string,
    publish: () => Promise<T>,
  ): Promise<T> {
    const begun = this.#clock.monotonic()
    const ended = (outcome: Readonly<Record<string, string>>): void =>
      this.#publish((this.#clock.monotonic() - begun) / 1_000, { 'concordat.bus.event': event, ...outcome })
    try {
      const result = await publish()
      const isMissed = 'missing' in result && result.missing.length > 0
      ended({ 'concordat.outcome': isMissed ? 'missing' : 'missing' in result ? 'answered' : 'sent' })
      return result
    } catch (error) {
      ended({ 'concordat.outcome': 'failed', 'error.type': errorType(error) })
      throw error
    }
  }

  /** @returns a function that stops it */
  observe(members: () => Promise<readonly unknown[]>): () => void {
    return this.#telemetry.gauges([MEMBERS], async () => [{ name: MEMBERS.name, value: (await members()).length }])
  }
}
