/**
 * Broker objects that a binder needs, as data: for a review before a deployment, for administrators who create topics and queues
 * themselves (`provision: 'check'` or `'none'`), or for a diagram. Provisioning uses the same functions.
 */
import type { Binding } from '../bindings/declarations.ts'
import { resolveConsumer, resolveSource } from '../bindings/resolve-options.ts'
import { deadLetterSpec } from '../consuming/failure/dead-letter-message.ts'
import { retrySpec } from '../consuming/failure/retry-destination.ts'
import type { DestinationSpec, TopologyPart, Transport } from '../transport/transport.ts'

/** Broker objects of one binder. Deeply frozen, and plain JSON. */
export interface Topology {
  readonly service: string
  readonly destinations: readonly PlannedDestination[]
  readonly bindings: readonly PlannedBinding[]
}

/** A destination that the binder needs, with all its objects on the broker. */
export interface PlannedDestination {
  readonly name: string
  readonly role: 'channel' | 'dead-letters' | 'retries'
  /** Name of its transport. */
  readonly transport: string
  readonly partitions: number
  /** Durable groups that receive its messages. */
  readonly groups: readonly string[]
  readonly retentionMs?: number | undefined
  /** Its objects on the broker: topics and consumer groups, or exchanges and queues. */
  readonly parts: readonly TopologyPart[]
}

/** A binding as the binder will run it. */
export interface PlannedBinding {
  readonly name: string
  readonly kind: Binding['kind']
  /** Channel it consumes; `null` for a source. */
  readonly input: string | null
  /** Its durable group, `null` for none. */
  readonly group: string | null
  /** Channel it produces to, `null` for none. */
  readonly output: string | null
  /** Channel of its failed messages, `null` without one. */
  readonly deadLetters: string | null
}

export interface Declared {
  readonly bindings: readonly Binding[]
  readonly destinations: readonly DestinationSpec[]
}

/** Returns all required destinations by name: channels, and those of their dead letters and retries. Pure. */
export function plannedSpecs({ bindings, destinations }: Declared): ReadonlyMap<string, DestinationSpec> {
  const specs = new Map(destinations.map((spec) => [spec.name, spec]))
  for (const binding of bindings)
    for (const spec of [deadLettersOf(binding), retriesOf(binding, specs)])
      if (spec !== undefined) specs.set(spec.name, joined(specs.get(spec.name), spec))
  return specs
}

/** Pure. */
export function describeTopology(
  service: string,
  declared: Declared,
  transport: Pick<Transport, 'name' | 'describe'>,
): Topology {
  const specs = plannedSpecs(declared)
  const retries = new Set(declared.bindings.map((binding) => retriesOf(binding, specs)?.name))
  return deepFreeze({
    service,
    destinations: [...specs.values()].map((spec) => planDestination(spec, transport, retries.has(spec.name))),
    bindings: declared.bindings.map((binding) => planBinding(binding, deadLettersOf(binding)?.name ?? null)),
  })
}

function deadLettersOf(binding: Binding): DestinationSpec | undefined {
  if (binding.kind === 'source') return undefined
  const { group, onFailure } = resolveConsumer(binding)
  return group === null || onFailure !== 'dead-letter' ? undefined : deadLetterSpec(binding.input.name, group)
}

/** Returns the destination of messages that wait for a delayed retry. */
function retriesOf(binding: Binding, specs: ReadonlyMap<string, DestinationSpec>): DestinationSpec | undefined {
  if (binding.kind === 'source') return undefined
  const { group, retry } = resolveConsumer(binding)
  const input = specs.get(binding.input.name)
  if (group === null || retry !== 'delayed' || input === undefined) return undefined
  return { ...retrySpec(input, group), delays: true }
}

/** Merges two declarations, because the reader of a dead letter channel may declare it, too. */
function joined(known: DestinationSpec | undefined, spec: DestinationSpec): DestinationSpec {
  return { ...known, ...spec, groups: [...new Set([...(known?.groups ?? []), ...spec.groups])] }
}

function planBinding(binding: Binding, deadLetters: string | null): PlannedBinding {
  if (binding.kind === 'source') {
    const { name } = resolveSource(binding)
    return { name, kind: 'source', input: null, group: null, output: binding.output.name, deadLetters }
  }
  const { name, group } = resolveConsumer(binding)
  const output = binding.output?.name ?? null
  return { name, kind: binding.kind, input: binding.input.name, group, output, deadLetters }
}

function planDestination(
  spec: DestinationSpec,
  transport: Pick<Transport, 'name' | 'describe'>,
  holdsRetries: boolean,
): PlannedDestination {
  const { name, partitions, groups, retentionMs, deadLetters } = spec
  return {
    name,
    role: deadLetters === true ? 'dead-letters' : holdsRetries ? 'retries' : 'channel',
    transport: transport.name,
    partitions,
    groups: [...groups],
    ...(retentionMs === undefined ? {} : { retentionMs }),
    parts: transport.describe?.(spec) ?? [],
  }
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const each of Object.values(value)) deepFreeze(each)
  }
  return value
}
