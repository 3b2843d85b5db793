import type { EncodedMessage } from 'concordat/binder'
import type {
  DestinationSpec,
  PublishOutcome,
  Receiver,
  Subscription,
  SubscriptionSpec,
  Transport,
  TransportDelivery,
  TransportFeatures,
} from 'concordat/extension'
import type { PublishUntil, TransportHealth } from '../../support/inside/binder.ts'
import { newId } from '../../support/inside/core.ts'

/** A transport whose every answer the test decides: for what no broker does on demand. */
export class ScriptedTransport implements Transport {
  readonly name = 'scripted'
  readonly features: TransportFeatures = {
    newGroupStartsAtEarliest: true,
    redeliveredFlag: true,
    durable: true,
    refusesUnroutable: true,
    delaysByItself: true,
    tellsWholeLag: true,
  }
  readonly publishConcurrency: number
  isolatesDestinations = false
  readonly provisioned: DestinationSpec[][] = []
  /** Messages of each `publish` call. */
  readonly published: Array<readonly EncodedMessage[]> = []
  readonly subscriptions: ScriptedSubscription[] = []
  closed = false
  onProvision: (specs: readonly DestinationSpec[]) => Promise<void> = async () => {}
  onPublish: (messages: readonly EncodedMessage[], until?: PublishUntil) => Promise<readonly PublishOutcome[]> = async (
    messages,
  ) => messages.map(() => undefined)
  onSubscribe: (spec: SubscriptionSpec) => Promise<void> = async () => {}

  constructor(publishConcurrency = 1) {
    this.publishConcurrency = publishConcurrency
  }

  /** The most recent subscription. */
  get subscription(): ScriptedSubscription {
    const last = this.subscriptions.at(-1)
    if (last === undefined) throw new Error('nothing has subscribed yet')
    return last
  }

  attach(): void {}

  provision(specs: readonly DestinationSpec[]): Promise<void> {
    this.provisioned.push([...specs])
    return this.onProvision(specs)
  }

  publish(messages: readonly EncodedMessage[], until?: PublishUntil): Promise<readonly PublishOutcome[]> {
    this.published.push(messages)
    return this.onPublish(messages, until)
  }

  async subscribe(spec: SubscriptionSpec, receiver: Receiver): Promise<Subscription> {
    await this.onSubscribe(spec)
    const subscription = new ScriptedSubscription(spec, receiver)
    this.subscriptions.push(subscription)
    return subscription
  }

  health(): TransportHealth {
    return { status: 'up' }
  }

  async close(): Promise<void> {
    this.closed = true
  }
}

export class ScriptedSubscription implements Subscription {
  readonly spec: SubscriptionSpec
  readonly receiver: Receiver
  paused = false
  closed = false
  #offset = 0

  constructor(spec: SubscriptionSpec, receiver: Receiver) {
    this.spec = spec
    this.receiver = receiver
  }

  /** Hands one message to the binder. */
  deliver(key: string | null, payload: unknown, loan: AbortController = new AbortController()): ScriptedDelivery {
    const delivery = new ScriptedDelivery(messageOn(this.spec.destination, key, payload), this.#offset++, loan)
    this.receiver.deliver(delivery)
    return delivery
  }

  pause(): void {
    this.paused = true
  }

  resume(): void {
    this.paused = false
  }

  async close(): Promise<void> {
    this.closed = true
  }
}

export class ScriptedDelivery implements TransportDelivery {
  readonly message: EncodedMessage
  readonly position: string
  readonly redelivered = false
  readonly signal: AbortSignal
  end: 'acked' | 'released' | undefined

  constructor(message: EncodedMessage, offset: number, loan: AbortController) {
    this.message = message
    this.position = `offset ${offset}`
    this.signal = loan.signal
  }

  ack(): void {
    this.end ??= 'acked'
  }

  release(): void {
    this.end ??= 'released'
  }
}

/** Message with a JSON payload, as a broker delivers it. */
export function messageOn(destination: string, key: string | null, payload: unknown): EncodedMessage {
  return {
    id: newId(),
    destination,
    key,
    type: destination,
    source: 'test',
    contentType: 'application/json',
    time: Date.now(),
    headers: {},
    body: Buffer.from(JSON.stringify(payload)),
  }
}
