import { setMaxListeners } from 'node:events'
import { jsonCodec } from '../core/codec.ts'
import { invalidOption, requireInteger } from '../core/errors.ts'
import { newId } from '../core/ids.ts'
import { hasMethods, optionNames, refuseUnknown, requireBoolean, wrongKind } from '../core/option-checks.ts'
import { unlessAborted, within } from '../core/time-limit.ts'
import { type AddressPattern, formatAddress, matches, parsePattern } from './address.ts'
import type { AckedPublishOptions, Acknowledgement, PublishOptions } from './bus.ts'
import { type BusEvent, requireEvent } from './define-event.ts'
import { type EventEnvelope, eventHeaders, signedFields } from './envelope.ts'
import { BusError } from './errors.ts'
import type { InstanceLifecycle } from './instance-lifecycle.ts'
import type { Members } from './members.ts'
import type { AckWait, PendingAcks } from './pending-acks.ts'
import type { Receiver } from './receiver.ts'
import type { BusContext } from './shared-dependencies.ts'
import { validateInTime } from './validate-with-timeout.ts'

/** Parts of the bus that publishing uses. */
interface PublisherPeers {
  readonly members: Members
  readonly pending: PendingAcks
  readonly lifeline: InstanceLifecycle
  /** Handles the publisher's own events. */
  readonly receiver: Receiver
}

/** With or without answers. */
export type AnyPublishOptions = PublishOptions & Partial<Pick<AckedPublishOptions, 'ack' | 'ackTimeoutMs'>>

const NAMES = optionNames<AnyPublishOptions>({ to: true, id: true, signal: true, ack: true, ackTimeoutMs: true })

interface Order {
  readonly event: BusEvent
  readonly payload: unknown
  readonly to: AddressPattern
  readonly id: string
  readonly signal: AbortSignal
  /** Undefined: no answers are awaited. */
  readonly ackTimeoutMs: number | undefined
}

interface Sent {
  readonly envelope: EventEnvelope
  readonly body: Uint8Array
  readonly wait: AckWait | undefined
  /** Resolves when the broker has confirmed it. */
  readonly sending: Promise<void>
}

/** Number of parts of a wait; between them, the event is sent again while answers are missing. */
const ROUNDS = 3

/** Publishes one event after the other, in the order of the calls. */
export class EventPublisher {
  readonly #context: BusContext
  readonly #peers: PublisherPeers
  #turn: Promise<void> = Promise.resolve()
  #latestId: string | undefined
  #handled: Promise<void> = Promise.resolve()
  readonly #closing = new AbortController()

  constructor(context: BusContext, peers: PublisherPeers) {
    this.#context = context
    this.#peers = peers
    setMaxListeners(0, this.#closing.signal)
  }

  /** Ends waits for a schema or for `authorize`, and refuses the calls behind them. */
  close(reason: Error): void {
    this.#closing.abort(reason)
  }

  /** @throws the errors of `Bus.publish` */
  async publish(
    event: BusEvent,
    payload: unknown,
    options: AnyPublishOptions,
  ): Promise<Acknowledgement | { readonly id: string }> {
    const order = this.#order(event, payload, options)
    order.signal.throwIfAborted()
    const { envelope, body, wait, sending } = await this.#untilSent(order)
    try {
      await unlessAborted(order.signal, sending)
      if (wait === undefined || order.ackTimeoutMs === undefined) return { id: order.id }
      return await this.#answers(wait, order.ackTimeoutMs, order.signal, () => this.#repeat(envelope, body))
    } finally {
      wait?.end()
    }
  }

  /** A caller that gives up during the send leaves no wait behind. */
  async #untilSent(order: Order): Promise<Sent> {
    const work = this.#sendInTurn(order)
    try {
      return await unlessAborted(order.signal, work)
    } catch (error) {
      work.then(({ wait }) => wait?.end()).catch(() => {})
      throw error
    }
  }

  #order(event: BusEvent, payload: unknown, options: AnyPublishOptions): Order {
    requireEvent('bus.publish', event)
    const path = `bus.publish("${event.name}")`
    refuseUnknown(path, options, NAMES)
    requireKinds(path, options)
    const { ack, ackTimeoutMs, signal, id } = options
    const isWanted = ack === true || (ackTimeoutMs !== undefined && (ack as boolean | undefined) !== false)
    const timeoutMs = requireInteger(`${path}.ackTimeoutMs`, ackTimeoutMs ?? this.#context.ackTimeoutMs, 1)
    return {
      event,
      payload,
      to: parsePattern(options.to),
      id: id ?? newId(),
      signal: signal ?? new AbortController().signal,
      ackTimeoutMs: isWanted ? timeoutMs : undefined,
    }
  }

  /** Slow work starts immediately; publishing is in order. A cancelled call does not block later ones. */
  async #sendInTurn(order: Order): Promise<Sent> {
    const before = this.#turn
    const mine = Promise.withResolvers<void>()
    this.#turn = mine.promise
    try {
      const body = await unlessAborted(this.#closing.signal, unlessAborted(order.signal, this.#prepare(order)))
      await before
      const { ackTimeoutMs } = order
      const asking = ackTimeoutMs === undefined ? undefined : this.#expected(order, ackTimeoutMs)
      const expected = asking && (await unlessAborted(this.#closing.signal, asking))
      order.signal.throwIfAborted()
      this.#closing.signal.throwIfAborted()
      const wait = expected === undefined ? undefined : this.#peers.pending.open(order.id, order.to, expected)
      const envelope = this.#sign(order, body)
      this.#latestId = order.id
      const sending = this.#send(envelope, body)
      if (matches(order.to, this.#context.address)) this.#handleOwn(envelope, body, sending)
      else sending.catch(() => {})
      return { envelope, body, wait, sending }
    } finally {
      void before.then(mine.resolve)
    }
  }

  /** @throws SchemaError, `bus.schema_timeout`, CodecError, `bus.payload_too_large`, `bus.forbidden` */
  async #prepare({ event, payload, to }: Order): Promise<Uint8Array> {
    const { authorization, address, clock, handlerTimeoutMs, maxPayloadBytes } = this.#context
    const limit = { clock, timeoutMs: handlerTimeoutMs, option: 'handlerTimeoutMs' }
    await validateInTime(limit, `event "${event.name}"`, event.schema, payload)
    const body = jsonCodec.encode(payload)
    if (body.byteLength > maxPayloadBytes)
      throw new BusError('bus.payload_too_large', {
        event: event.name,
        bytes: body.byteLength,
        maxBytes: maxPayloadBytes,
      })
    const refusal = await authorization.refusalOf(event.name, address, to.text)
    if (refusal !== undefined) throw refusal
    return body
  }

  /** Returns the instances whose answers will be awaited, once answers can arrive. @throws `bus.not_ready` */
  async #expected({ to, signal }: Order, timeoutMs: number): Promise<readonly string[]> {
    const { connection, clock } = this.#context
    const { members, lifeline } = this.#peers
    await connection.listeningForAnswers({ signal })
    await unlessAborted(signal, lifeline.rollCall())
    const expected = await within(clock, timeoutMs, members.addressed(to), undefined)
    if (expected === undefined)
      throw new BusError('bus.not_ready', { waiting: [`the option members has not answered within ${timeoutMs} ms`] })
    return expected
  }

  #sign({ id, to, event, ackTimeoutMs }: Order, body: Uint8Array): EventEnvelope {
    const { address, self, signer, times } = this.#context
    const bare: EventEnvelope = {
      kind: 'event',
      id,
      time: times.next(),
      from: address,
      sender: self,
      name: event.name,
      to,
      wantsAck: ackTimeoutMs !== undefined,
      signature: undefined,
    }
    return { ...bare, signature: signer.sign(signedFields(bare), body) }
  }

  async #send(envelope: EventEnvelope, body: Uint8Array): Promise<void> {
    const { connection, channels, counters } = this.#context
    const { id, time } = envelope
    await connection.binder.send(channels.events, body, { id, time, headers: eventHeaders(envelope) })
    counters.published++
  }

  /** After the confirm, but not before an earlier event, whose confirm may come later. */
  #handleOwn(envelope: EventEnvelope, body: Uint8Array, sending: Promise<void>): void {
    const before = this.#handled
    this.#handled = sending.then(
      () => before.then(() => void this.#peers.receiver.accept(envelope, body)),
      () => before,
    )
  }

  async #answers(
    wait: AckWait,
    timeoutMs: number,
    signal: AbortSignal,
    repeat: () => Promise<void>,
  ): Promise<Acknowledgement> {
    const complete = wait.complete.then(() => true)
    for (let round = 1; round <= ROUNDS; round++) {
      const isComplete = await unlessAborted(signal, within(this.#context.clock, timeoutMs / ROUNDS, complete, false))
      if (isComplete || round === ROUNDS) break
      // Concurrent with the wait, which does not get longer because of it.
      void this.#lookAgain(wait, repeat)
    }
    return wait.end()
  }

  /** Stops waiting for instances that have left, and resends to those that may have missed the event. */
  async #lookAgain(wait: AckWait, repeat: () => Promise<void>): Promise<void> {
    const { members } = this.#peers
    try {
      const live = await members.live()
      if (wait.isOver) return
      wait.keepOnly(new Set(live.map((address) => formatAddress(address))))
      if (wait.hasOpen) await repeat()
    } catch (error) {
      this.#context.logger.warn({ err: error, eventId: wait.id }, 'bus: cannot see who is still there, waiting for all')
    }
  }

  /** Only the latest event, or it would overtake later ones. */
  async #repeat(envelope: EventEnvelope, body: Uint8Array): Promise<void> {
    if (this.#latestId !== envelope.id) return
    try {
      await this.#send(envelope, body)
    } catch (error) {
      this.#context.logger.warn({ err: error, eventId: envelope.id }, 'bus: event not sent again')
    }
  }
}

/** Run-time check for callers without types: with `ack: 'yes'` the publish would silently wait for no answer. */
function requireKinds(path: string, options: AnyPublishOptions): void {
  const { id, ack, signal } = options as { readonly [Name in keyof AnyPublishOptions]: unknown }
  if (id !== undefined && (typeof id !== 'string' || id.length < 1 || id.length > 255)) {
    throw invalidOption(`${path}.id`, id, 'a string of 1 to 255 characters')
  }
  if (ack !== undefined) requireBoolean(`${path}.ack`, ack)
  if (signal !== undefined && !hasMethods(signal, ['throwIfAborted', 'addEventListener'])) {
    throw wrongKind(`${path}.signal`, signal, 'an AbortSignal')
  }
}
