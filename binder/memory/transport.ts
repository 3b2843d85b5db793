import { type Clock, systemClock } from '../../core/clock.ts'
import { invalidOption, requireInteger } from '../../core/errors.ts'
import { optionNames, refuseUnknown } from '../../core/option-checks.ts'
import type { EncodedMessage } from '../channel/message.ts'
import { TransportError, type TransportErrorKind } from '../errors.ts'
import { unfoldStructured } from '../transport/foreign-cloud-events.ts'
import { CLOSED_TRANSPORT } from '../transport/kit/transport-error-factory.ts'
import type {
  DestinationSpec,
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
} from '../transport/transport.ts'
import type { MemoryBroker, MemoryBrokerOptions } from './broker.ts'
import { Broker, type Destination } from './broker-destinations.ts'
import { MemoryPartition } from './partition.ts'
import { RoomWait } from './room-wait.ts'
import { GroupMembers, MemorySubscription } from './subscription.ts'

/** Options of `memoryTransport`. */
export interface MemoryTransportOptions {
  /** Broker shared by transports that should reach each other. @default a separate one */
  readonly broker?: MemoryBroker | undefined
}

const NAMES = optionNames<MemoryTransportOptions>({ broker: true })
const BROKER_NAMES = optionNames<MemoryBrokerOptions>({
  retainMessages: true,
  maxBacklog: true,
  maxBacklogBytes: true,
})

/** @throws TypeError / RangeError naming the option */
export function memoryBroker(options: MemoryBrokerOptions = {}): MemoryBroker {
  refuseUnknown('memoryBroker', options, BROKER_NAMES)
  return new Broker({
    retainMessages: requireInteger('memoryBroker.retainMessages', options.retainMessages ?? 1_000, 0),
    maxBacklog: requireInteger('memoryBroker.maxBacklog', options.maxBacklog ?? 100_000, 1),
    maxBacklogBytes: requireInteger('memoryBroker.maxBacklogBytes', options.maxBacklogBytes ?? 64 * 1024 * 1024, 1),
  })
}

/** @throws TypeError when `broker` was not made by `memoryBroker` */
export function memoryTransport(options: MemoryTransportOptions = {}): Transport {
  refuseUnknown('memoryTransport', options, NAMES)
  const broker = options.broker ?? memoryBroker()
  if (!(broker instanceof Broker)) throw invalidOption('memoryTransport.broker', broker, 'what memoryBroker() returned')
  return new MemoryTransport(broker)
}

const FEATURES: TransportFeatures = Object.freeze({
  newGroupStartsAtEarliest: true,
  redeliveredFlag: true,
  durable: { missing: 'all is in the memory of the process' },
  refusesUnroutable: { missing: 'messages are kept for later groups' },
  tellsWholeLag: true,
  delaysByItself: { missing: 'all is in the memory of the process' },
})

/** Number of `publish` calls before the event loop gets a turn. A number and not a time, so that tests are repeatable. */
const PUBLISHES_PER_TURN = 1_000

const REMEDY =
  'Let its handlers catch up, or raise `maxBacklog` or `maxBacklogBytes` of memoryBroker(); a handler that sends to what ' +
  'it reads has to send less than it settles'

/** Groups are shared by all transports on one broker. */
const groupsOf: WeakMap<Destination, Map<string, GroupMembers>> = new WeakMap()

class MemoryTransport implements Transport {
  readonly name = 'memory'
  readonly features = FEATURES
  readonly publishConcurrency = Number.MAX_SAFE_INTEGER
  readonly waitsForRoom = true
  readonly #broker: Broker
  readonly #subscriptions: Set<MemorySubscription> = new Set()
  #clock: Clock = systemClock
  #published = 0
  /** Set until timers and sockets have had a turn, which all calls wait for. */
  #turn: Promise<void> | undefined
  #closed = false
  readonly #closing: AbortController = new AbortController()

  constructor(broker: Broker) {
    this.#broker = broker
  }

  attach(host: TransportHost): void {
    this.#clock = host.clock
  }

  async provision(destinations: readonly DestinationSpec[]): Promise<void> {
    this.#requireReachable()
    for (const spec of destinations) this.#broker.provision(spec)
  }

  describe({ name, partitions, groups }: DestinationSpec): readonly TopologyPart[] {
    return [{ kind: 'log', name, details: { partitions } }, ...groups.map((group) => part('group', group, name))]
  }

  async publish(messages: readonly EncodedMessage[], until: PublishUntil = {}): Promise<readonly PublishOutcome[]> {
    const touched = new Set<MemoryPartition>()
    let waits: RoomWait | undefined
    const outcomes: PublishOutcome[] = []
    for (const each of messages) {
      const message = unfoldStructured(each)
      const placed = this.#place(message, touched)
      if (placed instanceof MemoryPartition) {
        waits ??= new RoomWait()
        waits.add(outcomes.push(undefined) - 1, placed, message)
      } else outcomes.push(placed)
    }
    for (const partition of touched) partition.pump()
    if (waits !== undefined) await this.#wait(waits, outcomes, until.deadline)
    // Everything here runs in microtasks: messages that cause further messages would never let timers and sockets have a turn.
    if (++this.#published % PUBLISHES_PER_TURN === 0) this.#turn ??= this.#nextTurn()
    if (this.#turn !== undefined) await this.#turn
    return outcomes
  }

  async #nextTurn(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    this.#turn = undefined
  }

  async subscribe(spec: SubscriptionSpec, receiver: Receiver): Promise<Subscription> {
    this.#requireReachable()
    const destination = this.#broker.provision({ name: spec.destination, partitions: spec.partitions, groups: [] })
    const { group } = spec
    if (group === null) return this.#subscribeAnonymously(destination, spec, receiver)
    destination.ensureGroup(group)
    const members = groupMembers(destination, group)
    const subscription = this.#connect(spec, receiver, (leaving) => members.leave(leaving))
    members.join(subscription)
    return subscription
  }

  async lag({ destination, group }: GroupPlace): Promise<number> {
    this.#requireReachable()
    return this.#broker.find(destination)?.lag(group) ?? 0
  }

  async hasPlace({ destination }: GroupPlace): Promise<boolean> {
    this.#requireReachable()
    return this.#broker.find(destination) !== undefined
  }

  health(): TransportHealth {
    if (this.#closed) return { status: 'down', detail: 'closed' }
    return this.#broker.reachable ? { status: 'up' } : { status: 'down', detail: 'the memory broker is interrupted' }
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#closing.abort()
    await Promise.all([...this.#subscriptions].map((subscription) => subscription.close()))
  }

  #subscribeAnonymously(destination: Destination, spec: SubscriptionSpec, receiver: Receiver): Subscription {
    const cursors = destination.partitions.map((partition) => partition.anonymousCursor())
    const subscription = this.#connect(spec, receiver, () => {
      for (const cursor of cursors) cursor.partition.forget(cursor)
    })
    for (const cursor of cursors) subscription.take(cursor)
    return subscription
  }

  #connect(
    spec: SubscriptionSpec,
    receiver: Receiver,
    onClose: (leaving: MemorySubscription) => void,
  ): MemorySubscription {
    const subscription = new MemorySubscription(spec, receiver, {
      onBusy: (isBusy) => this.#broker.setBusy(isBusy),
      onClose: (leaving) => {
        disconnect()
        this.#subscriptions.delete(leaving)
        onClose(leaving)
      },
    })
    const disconnect = this.#broker.connect(subscription)
    this.#subscriptions.add(subscription)
    return subscription
  }

  /** Returns the partition to wait for, or the outcome. */
  #place(message: EncodedMessage, touched: Set<MemoryPartition>): PublishOutcome | MemoryPartition {
    const { destination } = message
    if (this.#closed) return this.#error('closed', CLOSED_TRANSPORT, destination)
    if (!this.#broker.reachable) return this.#error('unavailable', 'the memory broker is interrupted', destination)
    const target = this.#broker.find(destination)
    if (target === undefined)
      return this.#error('unroutable', `destination "${destination}" was not provisioned`, destination)
    if (message.notBefore !== undefined) {
      if (this.#broker.appendLater(target, message, this.#clock)) return undefined
      return this.#error('refused', `too much waits to be due in "${destination}": ${REMEDY}`, destination)
    }
    const partition = target.partitionFor(message)
    if (!partition.offer(message)) return partition
    touched.add(partition)
    return undefined
  }

  /** Makes the publisher wait until the slowest group has caught up enough. */
  async #wait(waits: RoomWait, outcomes: PublishOutcome[], deadline = Number.POSITIVE_INFINITY): Promise<void> {
    const give = (kind: TransportErrorKind, why: string) => () => waits.giveUp(() => this.#error(kind, why))
    const disconnect = this.#broker.connect({ cut: give('unavailable', 'the memory broker is interrupted') })
    const onClose = give('closed', CLOSED_TRANSPORT)
    this.#closing.signal.addEventListener('abort', onClose)
    const cancel = this.#clock.setTimer(deadline - this.#clock.monotonic(), () => {
      waits.squeeze(({ destination }, partition) => {
        const where = `partition ${partition.index} of "${destination}" is full (${partition.backlog})`
        return this.#error('refused', `${where}: its slowest group does not get on. ${REMEDY}`, destination)
      })
    })
    await waits.over
    cancel()
    this.#closing.signal.removeEventListener('abort', onClose)
    disconnect()
    for (const [index, outcome] of waits.failed) outcomes[index] = outcome
  }

  #requireReachable(): void {
    if (this.#closed) throw this.#error('closed', CLOSED_TRANSPORT)
    if (!this.#broker.reachable) throw this.#error('unavailable', 'the memory broker is interrupted; call recover()')
  }

  #error(kind: TransportErrorKind, message: string, destination?: string): TransportError {
    return new TransportError({
      transport: 'memory',
      kind,
      message,
      ...(destination === undefined ? {} : { destination }),
    })
  }
}

const part = (kind: string, name: string, log: string): TopologyPart => ({ kind, name, details: { log } })

function groupMembers(destination: Destination, group: string): GroupMembers {
  let groups = groupsOf.get(destination)
  if (groups === undefined) groupsOf.set(destination, (groups = new Map()))
  let members = groups.get(group)
  if (members === undefined) groups.set(group, (members = new GroupMembers(destination, group)))
  return members
}
