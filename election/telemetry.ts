/** Metrics of elections, memberships and shared states. Created only with the option `telemetry`. */
import type { Clock } from '../core/clock.ts'
import { errorType, type Measure, type Telemetry } from '../core/telemetry-interface.ts'

const LEADER = { name: 'concordat.election.leader', unit: '1', description: '1 while this instance leads, else 0' }
const TERM = {
  name: 'concordat.election.term',
  unit: '1',
  description: 'The term that this instance leads, while it does',
}
const TERMS = {
  name: 'concordat.election.terms',
  unit: '{term}',
  description: 'Terms of this instance by how they ended',
}
const MEMBERS = {
  name: 'concordat.cluster.members',
  unit: '{member}',
  description: 'Members that this instance sees, by state; take the maximum over the instances',
}
const ISOLATED = {
  name: 'concordat.cluster.isolated',
  unit: '1',
  description: '1 while this instance cannot confirm that it is a member, else 0',
}
const COMMIT = {
  name: 'concordat.state.commit.duration',
  unit: 's',
  description: 'A write of a shared state, with its repetitions',
}

export class ElectionTelemetry {
  readonly #role: Readonly<Record<string, string>>
  readonly #terms: Measure
  readonly #stop: () => void

  /** @param term returns the current term */
  constructor(telemetry: Telemetry, role: string, term: () => number | undefined) {
    const attributes = { 'concordat.election.role': role }
    this.#role = attributes
    this.#terms = telemetry.counter(TERMS)
    this.#stop = telemetry.gauges([LEADER, TERM], () => {
      const led = term()
      const leader = { name: LEADER.name, value: led === undefined ? 0 : 1, attributes }
      return led === undefined ? [leader] : [leader, { name: TERM.name, value: led, attributes }]
    })
  }

  ended(reason: string): void {
    this.#terms(1, { ...this.#role, 'concordat.reason': reason })
  }

  close(): void {
    this.#stop()
  }
}

/** @returns a function that stops it */
export function observeMembership(
  telemetry: Telemetry,
  cluster: string,
  read: () => { readonly members: ReadonlyArray<{ readonly status: string }>; readonly isIsolated: boolean },
): () => void {
  const attributes = { 'concordat.cluster': cluster }
  return telemetry.gauges([MEMBERS, ISOLATED], () => {
    const { members, isIsolated } = read()
    const count = (state: string) => ({
      name: MEMBERS.name,
      value: members.filter(({ status }) => status === state).length,
      attributes: { ...attributes, 'concordat.state': state },
    })
    return [count('alive'), count('suspect'), { name: ISOLATED.name, value: isIsolated ? 1 : 0, attributes }]
  })
}

/** Measures the writes of one state. */
export function commitTimer(
  telemetry: Telemetry,
  state: string,
  clock: Clock,
): <T>(commit: () => Promise<T>) => Promise<T> {
  const measure = telemetry.histogram(COMMIT)
  return async (commit) => {
    const begun = clock.monotonic()
    const ended = (error: Readonly<Record<string, string>>): void =>
      measure((clock.monotonic() - begun) / 1_000, { 'concordat.state.name': state, ...error })
    try {
      const result = await commit()
      ended({})
      return result
    } catch (error) {
      ended({ 'error.type': errorType(error) })
      throw error
    }
  }
}
