import { type EncodedMessage, INTERNAL_PREFIX } from '../binder/channel/message.ts'
import { TransportError } from '../binder/errors.ts'
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
  TransportDelivery,
} from '../binder/transport/transport.ts'
import type { Activity } from './activity.ts'

/** Effect of an injected publish failure: nothing arrives, or everything arrives and only the confirm is lost. */
export type PublishFault = 'refused' | 'unconfirmed'

/**
 * The memory transport with counted calls and faults on demand. Methods not overridden here are those of the memory transport.
 */
export class FaultyTransport implements Transport {
  readonly #inner: Transport
  readonly #activity: Activity
  readonly #publishFaults: Array<{ readonly destination: string; readonly fault: PublishFault }> = []
  readonly #lostAcks: string[] = []
  /** Messages that were confirmed or at least arrived, in order. */
  readonly published: EncodedMessage[] = []
  /** Due time of the last delayed copy, epoch ms. */
  lastRetryAt = 0
  /** Deliveries that are neither settled nor returned, by destination and group. */
  readonly lent: Map<string, number> = new Map()
  readonly name: string
  readonly features: Transport['features']
  readonly publishConcurrency: number

  constructor(inner: Transport, activity: Activity) {
    this.#inner = inner
    this.#activity = activity
    this.name = inner.name
    this.features = inner.features
    this.publishConcurrency = inner.publishConcurrency
  }

  failPublish(destination: string, fault: PublishFault): void {
    this.#publishFaults.push({ destination, fault })
  }

  loseAck(destination: string): void {
    this.#lostAcks.push(destination)
  }

  attach(host: Parameters<Transport['attach']>[0]): void {
    this.#inner.attach(host)
  }

  describe(destination: DestinationSpec): readonly TopologyPart[] {
    return this.#inner.describe?.(destination) ?? []
  }

  lag(place: GroupPlace): Promise<number> {
    return this.#inner.lag?.(place) ?? Promise.resolve(0)
  }

  hasPlace(place: GroupPlace): Promise<boolean> {
    return this.#inner.hasPlace?.(place) ?? Promise.resolve(false)
  }

  refuses(message: EncodedMessage): ReturnType<NonNullable<Transport['refuses']>> {
    return this.#inner.refuses?.(message)
  }

  provision(...args: Parameters<Transport['provision']>): Promise<void> {
    return this.#inner.provision(...args)
  }

  async publish(messages: readonly EncodedMessage[], until?: PublishUntil): Promise<readonly PublishOutcome[]> {
    this.#activity.happened()
    const faults = messages.map(({ destination }) => this.#takeFault(destination))
    const arriving = messages.filter((_, i) => faults[i] !== 'refused')
    const outcomes = [...(await this.#inner.publish(arriving, until))]
    this.#activity.happened()
    return messages.map((message, i) => {
      if (faults[i] === 'refused') return noAnswer(message.destination)
      const outcome = outcomes.shift()
      if (outcome === undefined) this.#arrived(message)
      return faults[i] === undefined ? outcome : noAnswer(message.destination)
    })
  }

  #arrived(message: EncodedMessage): void {
    this.published.push(message)
    const { notBefore, headers } = message
    if (notBefore !== undefined && headers[`${INTERNAL_PREFIX}retry-attempts`] !== undefined)
      this.lastRetryAt = Math.max(this.lastRetryAt, notBefore)
  }

  subscribe(spec: SubscriptionSpec, receiver: Receiver): Promise<Subscription> {
    const place = `${spec.destination}/${spec.group}`
    return this.#inner.subscribe(spec, {
      deliver: (delivery) => {
        this.#count(place, 1)
        receiver.deliver(this.#watched(delivery, spec.destination, place))
      },
      recall: () => receiver.recall(),
      lost: (error) => {
        this.#activity.happened()
        this.lent.set(place, 0)
        receiver.lost(error)
      },
    })
  }

  health(): ReturnType<Transport['health']> {
    return this.#inner.health()
  }

  close(): Promise<void> {
    return this.#inner.close()
  }

  #takeFault(destination: string): PublishFault | undefined {
    const index = this.#publishFaults.findIndex((each) => each.destination === destination)
    return index < 0 ? undefined : this.#publishFaults.splice(index, 1)[0]?.fault
  }

  /** Ends each delivery once. When the acknowledgement is lost, the broker keeps the message. */
  #watched(delivery: TransportDelivery, destination: string, place: string): TransportDelivery {
    let isOver = false
    const end = (settle: () => void): void => {
      if (isOver) return
      isOver = true
      if (!delivery.signal.aborted) this.#count(place, -1)
      settle()
    }
    return new Proxy(delivery, {
      get: (target, property) => {
        if (property === 'ack') return () => end(() => this.#ack(delivery, destination))
        if (property === 'release') return () => end(() => delivery.release())
        const value: unknown = Reflect.get(target, property, target)
        return typeof value === 'function' ? (value as () => unknown).bind(target) : value
      },
    })
  }

  #ack(delivery: TransportDelivery, destination: string): void {
    const index = this.#lostAcks.indexOf(destination)
    if (index < 0) delivery.ack()
    else {
      this.#lostAcks.splice(index, 1)
      delivery.release()
    }
  }

  #count(place: string, by: 1 | -1): void {
    this.#activity.happened()
    this.lent.set(place, Math.max((this.lent.get(place) ?? 0) + by, 0))
  }
}

function noAnswer(destination: string): TransportError {
  const message = 'no answer (made by the test kit)'
  return new TransportError({ transport: 'memory', kind: 'unavailable', destination, message })
}
