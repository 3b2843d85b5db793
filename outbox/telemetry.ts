/** Metrics of an outbox and its relays. Created only with the option `telemetry`. */
import type { Measure, Reading, Telemetry } from '../core/telemetry-interface.ts'
import type { Outbox } from './outbox.ts'
import type { WindowResult } from './publish-window.ts'

const PENDING = {
  name: 'concordat.outbox.pending',
  unit: '{message}',
  description: 'Messages not published yet, parked ones included; counted up to 100 000',
}
const OLDEST = { name: 'concordat.outbox.oldest_age', unit: 's', description: 'Age of the oldest of them' }
const BLOCKED = {
  name: 'concordat.outbox.blocked_keys',
  unit: '{key}',
  description: 'Keys held back by a failed message',
}
const PARKED = { name: 'concordat.outbox.parked', unit: '{message}', description: 'Messages that wait for an operator' }
const LAG = {
  name: 'concordat.outbox.lag',
  unit: 's',
  description: 'Age of the oldest message of a window when the relay fetched it',
}
const RELAYED = {
  name: 'concordat.outbox.relayed',
  unit: '{message}',
  description: 'Publishes of this relay by how they ended: published, failed',
}

export class RelayTelemetry {
  readonly #telemetry: Telemetry
  readonly #schema: string
  readonly #lag: Measure
  readonly #relayed: Measure

  constructor(telemetry: Telemetry, schema: string) {
    this.#telemetry = telemetry
    this.#schema = schema
    this.#lag = telemetry.histogram(LAG)
    this.#relayed = telemetry.counter(RELAYED)
  }

  /** Called after a window was settled. */
  window({ confirmed, failed }: WindowResult, lagMs: number): void {
    const attributes = { 'concordat.outbox.schema': this.#schema }
    this.#lag(lagMs / 1_000, attributes)
    if (confirmed.length > 0) this.#relayed(confirmed.length, { ...attributes, 'concordat.outcome': 'published' })
    if (failed.length > 0) this.#relayed(failed.length, { ...attributes, 'concordat.outcome': 'failed' })
  }

  /**
   * Reads the tables at each collection: the same numbers in every process with a relay.
   * @returns a function that unregisters it
   */
  observe(outbox: Pick<Outbox, 'stats'>): () => void {
    const attributes = { 'concordat.outbox.schema': this.#schema }
    return this.#telemetry.gauges([PENDING, OLDEST, BLOCKED, PARKED], async (): Promise<Reading[]> => {
      const { pending, oldestAgeMs, blockedKeys, parked } = await outbox.stats()
      return [
        { name: PENDING.name, value: pending, attributes },
        { name: OLDEST.name, value: oldestAgeMs / 1_000, attributes },
        { name: BLOCKED.name, value: blockedKeys, attributes },
        { name: PARKED.name, value: parked, attributes },
      ]
    })
  }
}
