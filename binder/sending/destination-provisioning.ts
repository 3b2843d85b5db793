/** Required and provisioned objects on the broker. */
import { invalidOption } from '../../core/errors.ts'
import type { Binding } from '../bindings/declarations.ts'
import { type Channel, defaultPartitions } from '../channel/channel.ts'
import type { EncodedMessage } from '../channel/message.ts'
import { heldIn } from '../consuming/failure/dead-letter-message.ts'
import type { DestinationSpec, Transport } from '../transport/transport.ts'

/** The part of a channel that provisioning uses. */
export type SendDestination<Name extends string = string> = Pick<
  Channel<unknown, unknown, Name>,
  'name' | 'partitions' | 'groups' | 'retentionMs' | 'transactional'
>

/**
 * Returns the declarations of each destination in a binder; two declarations with one name must agree.
 * @throws TypeError / RangeError naming the binding or the channel
 */
export function destinationSpecs(
  bindings: readonly Binding[],
  sends: ReadonlyArray<SendDestination>,
): ReadonlyMap<string, DestinationSpec> {
  const specs = new Map<string, DestinationSpec>()
  const add = (channel: SendDestination): void => {
    const known = specs.get(channel.name)
    if (known !== undefined && known.partitions !== channel.partitions) {
      throw invalidOption(
        `channel("${channel.name}").partitions`,
        channel.partitions,
        `${known.partitions}, as another declaration of the same name says`,
      )
    }
    const groups = [...new Set([...(known?.groups ?? []), ...channel.groups])]
    const retentionMs = known?.retentionMs ?? channel.retentionMs
    const transactional = known?.transactional ?? channel.transactional
    specs.set(channel.name, specOf({ ...channel, groups, retentionMs, transactional }))
  }
  for (const [i, binding] of bindings.entries()) {
    if (!['sink', 'processor', 'batch', 'poll', 'source'].includes(binding?.kind)) {
      throw invalidOption(`createBinder.bindings[${i}]`, binding, 'what sink(), processor() or source() returned')
    }
    if (binding.kind !== 'source') add(withGroup(binding))
    if (binding.output !== undefined) add(binding.output)
    if (binding.kind === 'processor') for (const output of binding.outputs ?? []) add(output)
  }
  for (const [i, channel] of sends.entries()) {
    requireDestination(`createBinder.sends[${i}]`, channel)
    add(channel)
  }
  return specs
}

/** Spec of a declared destination. */
export function specOf({ name, partitions, groups, retentionMs, transactional }: SendDestination): DestinationSpec {
  return { name, partitions, groups, retentionMs, transactional, ...heldIn(name) }
}

/** Spec of an undeclared name. */
export function assumedSpec(name: string): DestinationSpec {
  return { name, partitions: defaultPartitions(name), groups: [], assumed: true, ...heldIn(name) }
}

/** A part of a channel is sufficient. */
function requireDestination(path: string, value: SendDestination): void {
  const fits = typeof value?.name === 'string' && typeof value.partitions === 'number' && Array.isArray(value.groups)
  if (!fits) throw invalidOption(path, value, 'what defineChannel returned')
}

/** A message sent before the consumer has subscribed must find its group, even if new groups start at the latest. */
function withGroup({ input, options }: Exclude<Binding, { kind: 'source' }>): DestinationSpec {
  const { name, partitions, groups, retentionMs, transactional } = input
  const all = options.group === undefined ? groups : [...groups, options.group]
  return { name, partitions, groups: all, retentionMs, transactional }
}

/** Provisioned destinations. Each is provisioned once, and again after the broker did not find it. */
export class ProvisionedDestinations {
  readonly #transport: Transport
  readonly #specs: Map<string, DestinationSpec>
  readonly #defaults: (name: string) => DestinationSpec
  readonly #known: Set<string> = new Set()
  /** Names that were also provisioned for delayed messages. */
  readonly #delayed: Set<string> = new Set()
  readonly #transactional: Set<string> = new Set()

  constructor(
    transport: Transport,
    specs: ReadonlyMap<string, DestinationSpec>,
    defaults: (name: string) => DestinationSpec,
  ) {
    this.#transport = transport
    this.#specs = new Map(specs)
    this.#defaults = defaults
  }

  /** Records a channel that is sent to without a declaration, or under another name. It is created with its own settings. */
  learn(place: SendDestination, name: string = place.name): void {
    if (!this.#specs.has(name)) this.#specs.set(name, specOf({ ...place, name }))
  }

  spec(name: string): DestinationSpec {
    return this.#specs.get(name) ?? this.#defaults(name)
  }

  /** Answers without calling `unlisted`, because a provisioned destination is fully known. */
  isTransactional(name: string): boolean {
    return this.#transactional.has(name) || this.#specs.get(name)?.transactional === true
  }

  /** Tells whether the destination was created with everything that this message needs. */
  has({ destination, notBefore }: EncodedMessage): boolean {
    return this.#known.has(destination) && (notBefore === undefined || this.#delayed.has(destination))
  }

  /** Returns the transport of a destination. */
  ownerOf(name: string): Transport {
    return this.#transport.ownerOf?.(name) ?? this.#transport
  }

  /** Spec for this message's destination. */
  specFor({ destination, notBefore }: EncodedMessage): DestinationSpec {
    const spec = this.spec(destination)
    return notBefore === undefined ? spec : { ...spec, delays: true }
  }

  /** @throws TransportError */
  async provision(specs: readonly DestinationSpec[]): Promise<void> {
    await this.#transport.provision(specs)
    for (const spec of specs) {
      // Remembers names without a declaration, such as those of dead letters, to create them again with the same settings.
      if (spec.assumed !== true && !this.#specs.has(spec.name)) this.#specs.set(spec.name, spec)
      this.#known.add(spec.name)
      if (spec.delays === true) this.#delayed.add(spec.name)
      if (spec.transactional === true) this.#transactional.add(spec.name)
    }
  }

  /** Forgets a destination that the broker did not find, so that it is provisioned before the next message to it. */
  forget(name: string): void {
    this.#known.delete(name)
    this.#delayed.delete(name)
  }
}
