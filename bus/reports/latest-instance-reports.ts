/**
 * The reports of all instances, kept while a watch is open. Pure except for reading the clock: each call brings the time.
 *
 * Any client that can write to an unsigned bus can invent instances. So everything is bounded: the number of instances, their bindings
 * together, and how often each is heard.
 */
import { BLOCKED_MS } from '../../core/blocked-threshold.ts'
import type { Address } from '../address.ts'
import type { ReportEnvelope } from '../envelope.ts'
import type { BindingReport, ReportBody } from './instance-report.ts'

/** A binding of an instance, with what moved between its last two reports. */
export interface WatchedBinding extends BindingReport {
  /** Handled a second; `undefined` until there are two reports. */
  readonly handledPerSecond: number | undefined
  /** Dead letters and what was sent away to be tried again, a second. */
  readonly failedPerSecond: number | undefined
}

/** An instance as it was when it reported last. */
export interface WatchedInstance extends Omit<ReportBody, 'bindings'> {
  readonly address: Address
  /** Session of the process: differs for two with one address, or after a restart. */
  readonly session: string
  /** Its event loop was blocked for so long within the last minute that it may have lost its leases. */
  readonly isBlocked: boolean
  /** Since it was heard, ms. */
  readonly ageMs: number
  readonly bindings: readonly WatchedBinding[]
}

interface Known {
  readonly address: Address
  readonly session: string
  /** By its clock. */
  time: number
  heardAt: number
  body: Omit<ReportBody, 'bindings'> & { readonly bindings: readonly WatchedBinding[] }
}

/** Limits on instances, and on their bindings together. */
export const MAX_INSTANCES = 1_000
const MAX_BINDINGS = 20_000
/** More frequent reports of an instance are ignored, in ms. */
const MIN_APART_MS = 400

export type ReportVerdict = 'taken' | 'too soon' | 'too many'

export class LatestInstanceReports {
  readonly #leaseMs: number
  readonly #known = new Map<string, Known>()
  #bindings = 0

  /** @param leaseMs who has not reported for so long is gone */
  constructor(leaseMs: number) {
    this.#leaseMs = leaseMs
  }

  /** Before a body is read: an older report, one too many and one too soon are not worth it. */
  judge({ sender, session, time }: ReportEnvelope, now: number): ReportVerdict {
    this.#expire(now)
    const known = this.#known.get(`${sender} ${session}`)
    if (known === undefined) return this.#known.size < MAX_INSTANCES ? 'taken' : 'too many'
    return time <= known.time || now - known.heardAt < MIN_APART_MS ? 'too soon' : 'taken'
  }

  take({ sender, session, from, time }: ReportEnvelope, body: ReportBody, now: number): ReportVerdict {
    const name = `${sender} ${session}`
    const before = this.#known.get(name)
    const more = body.bindings.length - (before?.body.bindings.length ?? 0)
    if (this.#bindings + more > MAX_BINDINGS) return 'too many'
    this.#bindings += more
    const bindings = withRates(body, before)
    this.#known.delete(name)
    this.#known.set(name, { address: from, session, time, heardAt: now, body: { ...body, bindings } })
    return 'taken'
  }

  all(now: number): readonly WatchedInstance[] {
    this.#expire(now)
    return Array.from(this.#known.values(), ({ address, session, heardAt, body }) => ({
      ...body,
      address,
      session,
      isBlocked: body.blockedMs >= BLOCKED_MS,
      ageMs: Math.round(now - heardAt),
    }))
  }

  /** Instances are in the order in which they were last heard. */
  #expire(now: number): void {
    for (const [name, { heardAt, body }] of this.#known) {
      if (now - heardAt < this.#leaseMs) return
      this.#known.delete(name)
      this.#bindings -= body.bindings.length
    }
  }
}

/** Divides by the uptime of the process: the times of its messages rise by 1 ms each while its clock is behind them. */
function withRates({ bindings, uptimeMs }: ReportBody, before: Known | undefined): readonly WatchedBinding[] {
  const last = new Map(before?.body.bindings.map((binding) => [binding.name, binding]))
  const seconds = (uptimeMs - (before?.body.uptimeMs ?? uptimeMs)) / 1_000
  return bindings.map((binding) => {
    const earlier = last.get(binding.name)
    if (earlier === undefined || seconds <= 0)
      return { ...binding, handledPerSecond: undefined, failedPerSecond: undefined }
    const rate = (from: number, to: number): number => Math.max(0, Math.round((10 * (to - from)) / seconds) / 10)
    return {
      ...binding,
      handledPerSecond: rate(earlier.handled, binding.handled),
      failedPerSecond: rate(earlier.deadLettered + earlier.retried, binding.deadLettered + binding.retried),
    }
  })
}
