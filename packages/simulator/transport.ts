/** The broker of the world: the memory transport, connected to each instance by a connection that has latency and breaks. */
import { type EncodedMessage, TransportError } from 'concordat/binder'
import { systemClock } from 'concordat/core'
import type {
  DestinationSpec,
  PublishOutcome,
  Receiver,
  Subscription,
  SubscriptionSpec,
  Transport,
  TransportFeatures,
  TransportHost,
} from 'concordat/extension'
import { type MemoryBroker, memoryTransport } from 'concordat/memory'
import { runIn } from './current-process.ts'
import type { FaultKind, SimulatedFault } from './faults.ts'
import { Lane, type Server } from './server.ts'
import type { SimulatedProcess } from './simulated-process.ts'
import { SimulatedSubscription } from './subscription.ts'
import type { World } from './world.ts'

const CALL_FAULTS: readonly FaultKind[] = ['kill', 'kill-after', 'freeze', 'drop', 'drop-after', 'delay', 'restart']
const PUBLISH_FAULTS: readonly FaultKind[] = [...CALL_FAULTS, 'double']
const LATEST_COPY_MS = 2_000

export class SimulatedTransport implements Transport {
  readonly name = 'memory'
  readonly features: TransportFeatures
  /** A failed call must not be followed by one that was in progress at the same time. */
  readonly publishConcurrency = 1
  readonly waitsForRoom = true
  readonly #world: World
  readonly #instance: SimulatedProcess
  readonly #server: Server
  readonly #inner: Transport
  readonly #lane = new Lane()
  readonly #subscriptions = new Set<SimulatedSubscription>()

  constructor(world: World, instance: SimulatedProcess, broker: MemoryBroker) {
    this.#world = world
    this.#instance = instance
    this.#server = world.server('broker')
    this.#inner = memoryTransport({ broker })
    this.features = this.#inner.features
    instance.onEnd(() => {
      for (const subscription of this.#subscriptions) subscription.cut()
    })
    this.#server.onRestart(() => {
      for (const subscription of this.#subscriptions) subscription.lose('the broker went away')
    })
  }

  attach(host: TransportHost): void {
    // Delayed messages wait at the broker.
    this.#inner.attach({ ...host, clock: systemClock })
  }

  provision(destinations: readonly DestinationSpec[]): Promise<void> {
    return this.#call('provision', CALL_FAULTS, () => this.#inner.provision(destinations))
  }

  describe(destination: DestinationSpec): ReturnType<NonNullable<Transport['describe']>> {
    return this.#inner.describe?.(destination) ?? []
  }

  async publish(
    messages: readonly EncodedMessage[],
    until?: Parameters<Transport['publish']>[1],
  ): Promise<readonly PublishOutcome[]> {
    const [first] = messages
    if (first === undefined) return []
    try {
      return await this.#call(`publish to ${first.destination}`, PUBLISH_FAULTS, (fault) => {
        if (fault?.kind === 'double') this.#publishAgain(messages, fault)
        return this.#inner.publish(messages, until)
      })
    } catch (error) {
      if (!(error instanceof TransportError)) throw error
      return messages.map(() => error)
    }
  }

  async subscribe(spec: SubscriptionSpec, receiver: Receiver): Promise<Subscription> {
    const place = `${spec.destination}/${spec.group ?? 'all'}`
    const subscription = new SimulatedSubscription(this.#world, this.#instance, { place, receiver })
    this.#subscriptions.add(subscription)
    subscription.onEnd(() => this.#subscriptions.delete(subscription))
    try {
      await this.#call(`subscribe to ${place}`, CALL_FAULTS, async () => {
        if (!this.#instance.isAlive) return
        subscription.begin(await this.#inner.subscribe(spec, subscription.receiver))
      })
    } catch (error) {
      subscription.cut()
      throw error
    }
    return subscription
  }

  lag(place: Parameters<NonNullable<Transport['lag']>>[0]): Promise<number> {
    return this.#call(
      `lag of ${place.destination}/${place.group}`,
      CALL_FAULTS,
      async () => (await this.#inner.lag?.(place)) ?? 0,
    )
  }

  hasPlace(place: Parameters<NonNullable<Transport['lag']>>[0]): Promise<boolean> {
    return this.#call(
      `looking for ${place.destination}/${place.group}`,
      CALL_FAULTS,
      async () => (await this.#inner.hasPlace?.(place)) ?? false,
    )
  }

  health(): ReturnType<Transport['health']> {
    return this.#server.isAway ? { status: 'down', detail: 'no connection' } : { status: 'up' }
  }

  async close(): Promise<void> {
    for (const subscription of this.#subscriptions) subscription.cut()
    await runIn(this.#world.atServer, () => this.#inner.close())
  }

  /** Resends of a producer without a response: the same messages again, behind later ones. */
  #publishAgain(messages: readonly EncodedMessage[], fault: SimulatedFault): void {
    this.#world.timeline.after(LATEST_COPY_MS * this.#world.faults.drawn(fault, 'copy'), () =>
      runIn(this.#world.atServer, () => this.#inner.publish(messages)),
    )
  }

  #call<T>(
    point: string,
    faults: readonly FaultKind[],
    run: (fault: SimulatedFault | undefined) => Promise<T>,
  ): Promise<T> {
    return this.#world.call(this.#instance, {
      point,
      server: this.#server,
      faults,
      lane: this.#lane,
      run,
      lost: () => errorOf('unavailable', 'the connection to the broker is lost'),
      onDrop: () => {
        for (const subscription of this.#subscriptions) subscription.lose('the connection to the broker is lost')
      },
    })
  }
}

function errorOf(kind: TransportError['kind'], message: string): TransportError {
  return new TransportError({ transport: 'memory', kind, message })
}
