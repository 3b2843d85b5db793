/** All instances of all services at one moment, individually and summed, as they report over the bus. */

import { formatAddress } from 'concordat/bus'
import { type Clock, SECOND } from 'concordat/core'
import { type Transport, within } from 'concordat/extension'
import type { ReportWatch, WatchedBinding, WatchedInstance } from './engine-types.ts'

/** An instance, without its individual bindings. */
export interface InstanceLine
  extends Pick<WatchedInstance, 'uptimeMs' | 'memoryBytes' | 'cpu' | 'blockedMs' | 'isBlocked' | 'ageMs'> {
  /** `service:group:instance` */
  readonly address: string
  readonly service: string
  /** Number of its bindings, including those that were left out. */
  readonly bindings: number
  /** Names of bindings that are neither running nor stopped on purpose: paused by a breaker, connecting, halted. */
  readonly notRunning: readonly string[]
  readonly openCircuits: number
  /** Names of bindings with a handler call that has run for longer than their `slowAfterMs`. */
  readonly slow: readonly string[]
  readonly running: number
  readonly queued: number
  /** Per second, over all its bindings. */
  readonly handledPerSecond: number
  readonly failedPerSecond: number
}

/** A binding of a service, summed over its instances. */
export interface BindingLine extends Pick<WatchedBinding, 'name' | 'kind' | 'channel' | 'group' | 'partitions'> {
  readonly service: string
  readonly instances: number
  /** Number of instances in each state. */
  readonly states: Readonly<Record<string, number>>
  /** Number of bindings by the state of their breaker; empty without a breaker. */
  readonly circuits: Readonly<Record<string, number>>
  /** Duration of the oldest running handler call; `undefined` without one. */
  readonly runningForMs?: number | undefined
  readonly running: number
  readonly queued: number
  readonly handled: number
  readonly deadLettered: number
  readonly dropped: number
  readonly retried: number
  readonly handledPerSecond: number
  readonly failedPerSecond: number
  /**
   * Lag of the whole group, as the broker counts it, plus `running` and `queued` where the broker excludes messages that
   * consumers hold (RabbitMQ). `undefined` before the first count, and where the broker cannot tell.
   */
  readonly lag?: number | undefined
}

/** Reports of the instances. */
export interface InstancesView {
  /** By address; at most 500. */
  readonly instances: readonly InstanceLine[]
  /** By service and name; at most 500. */
  readonly bindings: readonly BindingLine[]
  /** Number of instances and bindings beyond that. */
  readonly leftOut: number
}

/** A watch of instances. They stop reporting when it is closed. */
export interface InstanceWatch extends AsyncDisposable {
  view(): InstancesView
  /** The bindings of one instance; `undefined` when it has not reported. */
  bindingsOf(address: string): readonly WatchedBinding[] | undefined
  /** Why no reports arrive at the moment; `undefined` when they do. */
  trouble(): string | undefined
  /** Never rejects. */
  close(): Promise<void>
}

export const MAX_LINES = 500
const FINE = new Set(['running', 'stopped', 'idle', 'stopping'])
/** The service of the watch on the bus, which also reports its own state. */
export const OPERATOR = 'operator'

export function viewOf(watched: readonly WatchedInstance[], lags: ReadonlyMap<string, LagOf>): InstancesView {
  const services = servicesOf(watched)
  const instances = services.map(lineOf).sort((a, b) => compare(a.address, b.address))
  const bindings = sumsOf(services, lags)
  const leftOut = Math.max(0, instances.length - MAX_LINES) + Math.max(0, bindings.length - MAX_LINES)
  return { instances: instances.slice(0, MAX_LINES), bindings: bindings.slice(0, MAX_LINES), leftOut }
}

export function servicesOf(watched: readonly WatchedInstance[]): readonly WatchedInstance[] {
  return watched.filter(({ address }) => address.service !== OPERATOR)
}

function lineOf(watched: WatchedInstance): InstanceLine {
  const { address, uptimeMs, memoryBytes, cpu, blockedMs, isBlocked, ageMs, bindings, leftOut } = watched
  return {
    address: formatAddress(address),
    service: address.service,
    uptimeMs,
    memoryBytes,
    cpu,
    blockedMs,
    isBlocked,
    ageMs,
    slow: bindings.filter(({ isSlow }) => isSlow === true).map(({ name }) => name),
    bindings: bindings.length + leftOut,
    notRunning: bindings.filter(({ state }) => !FINE.has(state)).map(({ name }) => name),
    openCircuits: bindings.filter(({ circuit }) => circuit !== undefined && circuit !== 'closed').length,
    running: sum(bindings, ({ running }) => running),
    queued: sum(bindings, ({ queued }) => queued),
    handledPerSecond: rate(bindings, ({ handledPerSecond }) => handledPerSecond),
    failedPerSecond: rate(bindings, ({ failedPerSecond }) => failedPerSecond),
  }
}

function sumsOf(instances: readonly WatchedInstance[], lags: ReadonlyMap<string, LagOf>): readonly BindingLine[] {
  const all = new Map<string, { readonly service: string; readonly of: WatchedBinding[] }>()
  for (const { address, bindings } of instances)
    for (const binding of bindings) {
      const key = JSON.stringify([address.service, binding.name])
      const known = all.get(key)
      if (known === undefined) all.set(key, { service: address.service, of: [binding] })
      else known.of.push(binding)
    }
  return [...all.values()]
    .map(({ service, of }) => sumOf(service, of, lags))
    .sort((a, b) => compare(a.service, b.service) || compare(a.name, b.name))
}

function sumOf(service: string, of: readonly WatchedBinding[], lags: ReadonlyMap<string, LagOf>): BindingLine {
  const { name, kind, channel, group, partitions } = of[0] as WatchedBinding
  const calls = of.flatMap(({ runningForMs }) => runningForMs ?? [])
  return {
    service,
    name,
    kind,
    channel,
    group,
    partitions,
    instances: of.length,
    states: countOf(of, ({ state }) => state),
    circuits: countOf(of, ({ circuit }) => circuit),
    ...(calls.length > 0 && { runningForMs: Math.max(...calls) }),
    running: sum(of, ({ running }) => running),
    queued: sum(of, ({ queued }) => queued),
    handled: sum(of, ({ handled }) => handled),
    deadLettered: sum(of, ({ deadLettered }) => deadLettered),
    dropped: sum(of, ({ dropped }) => dropped),
    retried: sum(of, ({ retried }) => retried),
    handledPerSecond: rate(of, ({ handledPerSecond }) => handledPerSecond),
    failedPerSecond: rate(of, ({ failedPerSecond }) => failedPerSecond),
    lag: group === null ? undefined : lags.get(placeName(channel, group))?.(of),
  }
}

function countOf(all: readonly WatchedBinding[], of: (each: WatchedBinding) => string | undefined) {
  const counts = new Map<string, number>()
  for (const each of all) {
    const name = of(each)
    if (name !== undefined) counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  return Object.fromEntries(counts)
}

function sum(all: readonly WatchedBinding[], of: (each: WatchedBinding) => number): number {
  return all.reduce((total, each) => total + of(each), 0)
}

function rate(all: readonly WatchedBinding[], of: (each: WatchedBinding) => number | undefined): number {
  return Math.round(10 * sum(all, (each) => of(each) ?? 0)) / 10
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function placeName(channel: string, group: string): string {
  return JSON.stringify([channel, group])
}

/** Computes the lag from the broker's count and the messages that instances hold. */
type LagOf = (bindings: readonly WatchedBinding[]) => number

function heldBy(bindings: ReadonlyArray<Pick<WatchedBinding, 'running' | 'queued'>>): number {
  return bindings.reduce((sum, { running, queued }) => sum + running + queued, 0)
}

/** Number of messages of a group that instances hold, handled or queued; `null` when no reporting instance reads it. */
export function heldOf(
  { bindings }: InstancesView,
  { channel, group }: { readonly channel: string; readonly group: string },
): number | null {
  const readers = bindings.filter((line) => line.channel === channel && line.group === group)
  return readers.length === 0 ? null : heldBy(readers)
}

const LAG_EVERY_MS = 10 * SECOND
const LAG_MS = 5 * SECOND
const MAX_PLACES = 200

/** Asks the broker for the lag of the watched groups: once here, instead of in each instance. */
export class Lags {
  readonly #transport: Transport
  readonly #clock: Clock
  readonly #known = new Map<string, LagOf>()
  #cancel: (() => void) | undefined
  #isClosed = false

  constructor(transport: Transport, clock: Clock) {
    this.#transport = transport
    this.#clock = clock
  }

  get known(): ReadonlyMap<string, LagOf> {
    return this.#known
  }

  /** Runs until it is closed. A group whose lag cannot be read has none. */
  follow(watch: ReportWatch): void {
    const next = (waitMs: number): void => {
      if (this.#isClosed || this.#transport.lag === undefined) return
      this.#cancel = this.#clock.setTimer(waitMs, () => void this.#ask(watch).finally(() => next(LAG_EVERY_MS)))
    }
    next(2 * SECOND)
  }

  close(): void {
    this.#isClosed = true
    this.#cancel?.()
  }

  async #ask(watch: ReportWatch): Promise<void> {
    const places = placesIn(servicesOf(watch.instances()))
    for (const name of this.#known.keys()) if (!places.has(name)) this.#known.delete(name)
    for (const [name, { channel, group, partitions }] of [...places].slice(0, MAX_PLACES)) {
      if (this.#isClosed) return
      const asked = Promise.resolve(this.#transport.lag?.({ destination: channel, partitions, group }))
      const told = asked.catch(() => undefined)
      const lag = await within<number | undefined, undefined>(this.#clock, LAG_MS, told, undefined)
      if (lag === undefined) this.#known.delete(name)
      else this.#known.set(name, this.#transport.features.tellsWholeLag === true ? () => lag : (of) => lag + heldBy(of))
    }
  }
}

function placesIn(instances: readonly WatchedInstance[]) {
  const places = new Map<string, { readonly channel: string; readonly group: string; readonly partitions: number }>()
  for (const { bindings } of instances)
    for (const { channel, group, partitions } of bindings)
      if (group !== null) places.set(placeName(channel, group), { channel, group, partitions })
  return places
}
