import { eventLoopBlockedMs } from '../../core/event-loop.ts'
import type { Instrument, Reading, Telemetry, TelemetryAttributes } from '../../core/telemetry-interface.ts'
import { type BindingStatus, isAsTold } from '../status.ts'
import { BLOCKED, CIRCUIT_OPEN, type ConsumerName, DEAD_LETTERS, IN_FLIGHT, LAG, SLOW, UP } from './metrics.ts'

/** Asks the broker about a binding. */
export type Ask = (name: string) => Promise<number | undefined>

/** Gauges of a binder's bindings, read whenever metrics are collected. */
export class BindingGauges {
  readonly #telemetry: Telemetry
  readonly #bindings: () => readonly BindingStatus[]
  readonly #attributesOf: (consumer: ConsumerName) => TelemetryAttributes

  constructor(
    telemetry: Telemetry,
    bindings: () => readonly BindingStatus[],
    attributesOf: (consumer: ConsumerName) => TelemetryAttributes,
  ) {
    this.#telemetry = telemetry
    this.#bindings = bindings
    this.#attributesOf = attributesOf
  }

  /** @returns a function that stops them */
  start(lag: Ask, deadLetters: Ask): () => void {
    const stops = [
      this.#observeInFlight(),
      this.#observeState(),
      this.#telemetry.gauges([BLOCKED], () => [
        { name: BLOCKED.name, value: eventLoopBlockedMs() / 1_000, attributes: {} },
      ]),
      this.#observeAsked(LAG, lag),
      this.#observeAsked(DEAD_LETTERS, deadLetters),
    ]
    return () => {
      for (const stop of stops) stop()
    }
  }

  /** If a broker does not answer, the gauge is omitted: no number is better than an outdated one. */
  #observeAsked(instrument: Instrument, ask: Ask): () => void {
    return this.#telemetry.gauges([instrument], async () => {
      const durable = this.#bindings().filter(({ group }) => group !== null)
      const readings = durable.map(async ({ name, channel, group }): Promise<Reading[]> => {
        const value = await ask(name).catch(() => undefined)
        const attributes = this.#attributesOf({ destination: channel, group })
        return value === undefined ? [] : [{ name: instrument.name, value, attributes }]
      })
      return (await Promise.all(readings)).flat()
    })
  }

  #observeInFlight(): () => void {
    return this.#telemetry.gauges([IN_FLIGHT], () =>
      this.#bindings().flatMap(({ kind, channel, group, running, queued }): Reading[] => {
        if (kind === 'source') return []
        const attributes = this.#attributesOf({ destination: channel, group })
        return [
          { name: IN_FLIGHT.name, value: running, attributes: { ...attributes, 'concordat.state': 'running' } },
          { name: IN_FLIGHT.name, value: queued, attributes: { ...attributes, 'concordat.state': 'queued' } },
        ]
      }),
    )
  }

  #observeState(): () => void {
    return this.#telemetry.gauges([UP, SLOW, CIRCUIT_OPEN], () =>
      this.#bindings().flatMap(({ channel, group, state, circuit, isSlow }): Reading[] => {
        const attributes = this.#attributesOf({ destination: channel, group })
        const up = { name: UP.name, value: Number(isAsTold(state)), attributes }
        const slow = { name: SLOW.name, value: Number(isSlow === true), attributes }
        if (circuit === undefined) return [up, slow]
        return [up, slow, { name: CIRCUIT_OPEN.name, value: Number(circuit !== 'closed'), attributes }]
      }),
    )
  }
}
