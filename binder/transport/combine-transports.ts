/**
 * Several brokers in one binder: consume from Kafka, produce to RabbitMQ. Each destination lies on one transport; what a
 * binder promises holds across them, for it settles an input after the outputs were confirmed, wherever they went.
 */
import { invalidOption } from '../../core/errors.ts'
import { hasMethods, optionNames, refuseUnknown, wrongKind } from '../../core/option-checks.ts'
import { consistsOf } from '../assembly/claim-transport.ts'
import { deadLetterName } from '../channel/dead-letter-name.ts'
import type { EncodedMessage } from '../channel/message.ts'
import { leavesOutHeld, retryName } from '../consuming/failure/retry-destination.ts'
import { TransportError } from '../errors.ts'
import { PublishLane } from './publish-lane.ts'
import type {
  DestinationSpec,
  Feature,
  GroupPlace,
  PublishOutcome,
  PublishUntil,
  Receiver,
  Subscription,
  SubscriptionSpec,
  TopologyPart,
  Transport,
  TransportFeatures,
  TransportHealth,
  TransportHost,
} from './transport.ts'

/** Options of `combineTransports`. */
export interface CombineTransportsOptions<Name extends string> {
  /** By a name of your own. */
  readonly transports: Readonly<Record<Name, Transport>>
  /**
   * On which of them a destination lies. An object: by name, or by the longest name in it that the destination begins with
   * up to a dot, so that replies and `orders.eu` go with `orders`. A function: called with each destination once. Dead letters
   * and retries of a channel that this binder consumes go with it in both cases.
   */
  readonly of?:
    | Readonly<Record<string, NoInfer<Name>>>
    | ((destination: string) => NoInfer<Name> | undefined)
    | undefined
  /** Where the others lie. @default nowhere: they are refused */
  readonly default?: NoInfer<Name> | undefined
}

const NAMES = optionNames<CombineTransportsOptions<string>>({ transports: true, of: true, default: true })

/**
 * One transport out of several, each with connections, features and health of its own. The binder closes all of them.
 * @throws TypeError naming the option
 */
export function combineTransports<Name extends string>(options: CombineTransportsOptions<Name>): Transport {
  refuseUnknown('combineTransports', options, NAMES)
  const transports = new Map<string, Transport>(Object.entries(options.transports ?? {}))
  if (transports.size === 0)
    throw wrongKind('combineTransports.transports', options.transports, 'an object such as { kafka, rabbit }')
  for (const [name, transport] of transports) {
    if (!hasMethods(transport, ['publish', 'subscribe', 'provision']))
      throw wrongKind(`combineTransports.transports.${name}`, transport, 'a transport')
  }
  if (options.default !== undefined) requireName('combineTransports.default', options.default, transports)
  const { of } = options
  if (of !== undefined && typeof of !== 'function') {
    if (typeof of !== 'object' || of === null) throw wrongKind('combineTransports.of', of, 'an object or a function')
    for (const [destination, name] of Object.entries(of))
      requireName(`combineTransports.of["${destination}"]`, name, transports)
  }
  if (new Set(transports.values()).size < transports.size)
    throw wrongKind('combineTransports.transports', options.transports, 'a transport of its own for each name')
  const combined = new CombinedTransport(transports, new Owners(of, options.default))
  consistsOf(combined, [...transports.values()])
  return combined
}

function requireName(path: string, name: unknown, transports: ReadonlyMap<string, Transport>): void {
  if (typeof name === 'string' && transports.has(name)) return
  throw invalidOption(path, name, `one of ${[...transports.keys()].join(', ')}`)
}

/** Which destination lies where. Each is asked for once. */
class Owners {
  readonly #of: CombineTransportsOptions<string>['of']
  readonly #default: string | undefined
  /** Dead letters and retries, with the channel they go with. */
  readonly #derived: Map<string, string> = new Map()
  readonly #known: Map<string, string | undefined> = new Map()

  constructor(of: CombineTransportsOptions<string>['of'], otherwise: string | undefined) {
    this.#of = of
    this.#default = otherwise
  }

  learn(destination: string, groups: readonly string[]): void {
    for (const group of groups) {
      this.goesWith(deadLetterName(destination, group), destination)
      this.goesWith(retryName(destination, group), destination)
    }
  }

  goesWith(destination: string, channel: string): void {
    if (this.#derived.get(destination) === channel) return
    this.#derived.set(destination, channel)
    this.#known.delete(destination)
  }

  owner(destination: string): string | undefined {
    const channel = this.#derived.get(destination)
    if (channel !== undefined) return this.owner(channel)
    if (!this.#known.has(destination)) this.#known.set(destination, this.#find(destination) ?? this.#default)
    return this.#known.get(destination)
  }

  #find(destination: string): string | undefined {
    const of = this.#of
    if (of === undefined) return undefined
    if (typeof of === 'function') return of(destination)
    for (let name = destination; name !== ''; name = name.slice(0, Math.max(0, name.lastIndexOf('.'))))
      if (Object.hasOwn(of, name)) return of[name]
    return undefined
  }
}

class CombinedTransport implements Transport {
  readonly name: string
  readonly features: TransportFeatures
  /** Each transport has its own limit: one that is stuck does not hold up what goes to the others. */
  readonly publishConcurrency = Number.MAX_SAFE_INTEGER
  readonly waitsForRoom = true
  readonly isolatesDestinations = true
  readonly confirmsSingly: boolean
  readonly #transports: ReadonlyMap<string, Transport>
  #lanes: ReadonlyMap<string, PublishLane> = new Map()
  readonly #owners: Owners

  constructor(transports: ReadonlyMap<string, Transport>, owners: Owners) {
    this.name = [...transports.keys()].join('+')
    this.#transports = transports
    this.#owners = owners
    this.features = commonFeatures(transports)
    this.confirmsSingly = [...transports.values()].some((transport) => transport.confirmsSingly === true)
  }

  nameOf(destination: string): string {
    return this.ownerOf(destination)?.name ?? this.name
  }

  ownerOf(destination: string): Transport | undefined {
    return this.#transports.get(this.#owners.owner(destination) ?? '')
  }

  attach(host: TransportHost): void {
    for (const transport of this.#transports.values()) transport.attach(host)
    this.#lanes = new Map([...this.#transports].map(([name, each]) => [name, new PublishLane(each, host.clock)]))
  }

  async provision(destinations: readonly DestinationSpec[]): Promise<void> {
    for (const spec of destinations) this.#learn(spec)
    const parts = new Map<Transport, DestinationSpec[]>()
    for (const spec of destinations) {
      const transport = this.#owner(spec.name)
      parts.set(transport, [...(parts.get(transport) ?? []), spec])
    }
    await Promise.all([...parts].map(([transport, specs]) => transport.provision(specs)))
  }

  describe(destination: DestinationSpec): readonly TopologyPart[] {
    this.#learn(destination)
    return this.#owner(destination.name).describe?.(destination) ?? []
  }

  refuses(message: EncodedMessage): TransportError | undefined {
    return this.ownerOf(message.destination)?.refuses?.(message)
  }

  cannotTake(message: EncodedMessage): TransportError | undefined {
    return this.ownerOf(message.destination)?.cannotTake?.(message)
  }

  async publish(messages: readonly EncodedMessage[], until?: PublishUntil): Promise<readonly PublishOutcome[]> {
    const parts = new Map<PublishLane, number[]>()
    const outcomes: PublishOutcome[] = messages.map(({ destination }, i) => {
      const lane = this.#lanes.get(this.#owners.owner(destination) ?? '')
      if (lane === undefined) return this.#homeless(destination)
      const part = parts.get(lane)
      if (part === undefined) parts.set(lane, [i])
      else part.push(i)
      return undefined
    })
    await Promise.all(
      [...parts].map(async ([lane, indexes]) => {
        const answers = await lane.publish(
          indexes.map((i) => messages[i] as EncodedMessage),
          { ...until, onOutcome: (n, outcome) => until?.onOutcome?.(indexes[n] as number, outcome) },
        )
        for (const [n, i] of indexes.entries()) outcomes[i] = answers[n]
      }),
    )
    return outcomes
  }

  async subscribe(spec: SubscriptionSpec, receiver: Receiver): Promise<Subscription> {
    if (spec.group !== null) this.#owners.learn(spec.destination, [spec.group])
    return this.#owner(spec.destination).subscribe(spec, receiver)
  }

  async lag(place: GroupPlace): Promise<number> {
    const transport = this.#owner(place.destination)
    if (transport.lag === undefined) throw new TypeError(`the transport ${transport.name} cannot tell a lag`)
    return transport.lag(place)
  }

  hasReaders(place: GroupPlace): Promise<boolean> {
    return leavesOutHeld(this.#owner(place.destination), place)
  }

  async hasPlace(place: GroupPlace): Promise<boolean> {
    return (await this.#owner(place.destination).hasPlace?.(place)) ?? false
  }

  health(): TransportHealth {
    const all = [...this.#transports].map(([name, transport]) => ({
      name,
      ...(this.#lanes.get(name) ?? transport).health(),
    }))
    const statuses = new Set(all.map(({ status }) => status))
    const detail = all.map(
      ({ name, status, detail: why }) => `${name}: ${status}${why === undefined ? '' : ` (${why})`}`,
    )
    const status = statuses.has('down') ? 'down' : statuses.has('up') ? 'up' : 'idle'
    return { status, detail: detail.join(', ') }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#transports.values()].map((transport) => transport.close()))
  }

  #learn({ name, groups, goesWith }: DestinationSpec): void {
    this.#owners.learn(name, groups)
    if (goesWith !== undefined) this.#owners.goesWith(name, goesWith)
  }

  /** @throws TransportError */
  #owner(destination: string): Transport {
    const transport = this.ownerOf(destination)
    if (transport === undefined) throw this.#homeless(destination)
    return transport
  }

  #homeless(destination: string): TransportError {
    return new TransportError({
      transport: this.name,
      kind: 'mismatch',
      destination,
      message: `no transport for "${destination}": name it in combineTransports({ of }), one of ${[...this.#transports.keys()].join(', ')}, or give a default`,
    })
  }
}

/** A feature missing in one of them is missing in the whole. */
function commonFeatures(transports: ReadonlyMap<string, Transport>): TransportFeatures {
  const [first] = transports.values()
  const features = Object.keys(first?.features ?? {}).map((feature) => {
    const missing = [...transports].flatMap(([name, transport]) => {
      const value: Feature = transport.features[feature as keyof TransportFeatures]
      return value === true ? [] : [`${name}: ${value.missing}`]
    })
    return [feature, missing.length === 0 ? true : { missing: missing.join('; ') }] as const
  })
  // The same keys as each of them has.
  return Object.freeze(Object.fromEntries(features)) as unknown as TransportFeatures
}
