import type { Receiver, Subscription, TransportDelivery } from 'concordat/extension'
import { runIn } from './current-process.ts'
import type { FaultKind } from './faults.ts'
import { Lane } from './server.ts'
import type { SimulatedProcess } from './simulated-process.ts'
import type { World } from './world.ts'

const DELIVERY_FAULTS: readonly FaultKind[] = ['kill', 'freeze', 'drop', 'delay']
const ACK_FAULTS: readonly FaultKind[] = ['kill', 'kill-after', 'freeze', 'drop', 'delay']
/** After this time, the broker gives the messages of a silent consumer to others. */
const SESSION_MS = 6_000

interface Role {
  readonly place: string
  readonly receiver: Receiver
}

/**
 * An instance's membership in a group, seen over a connection: deliveries arrive later, in order; acknowledgements are sent
 * later, or never.
 */
export class SimulatedSubscription implements Subscription {
  /** The receiver that the broker calls. */
  readonly receiver: Receiver
  readonly #world: World
  readonly #instance: SimulatedProcess
  readonly #role: Role
  readonly #in = new Lane()
  readonly #out = new Lane()
  /** Arrived while it was paused. */
  readonly #held: Array<() => void> = []
  /** In transit, or held: the instance does not know of them yet. */
  readonly #under = new Set<TransportDelivery>()
  readonly #ends: Array<() => void> = []
  /** Signals of the broker's loans, as the instance sees them. */
  readonly #loans = new WeakMap<AbortSignal, AbortSignal>()
  #inner: Subscription | undefined
  #isOver = false
  #isPaused = false

  constructor(world: World, instance: SimulatedProcess, role: Role) {
    this.#world = world
    this.#instance = instance
    this.#role = role
    this.receiver = {
      deliver: (delivery) => this.#deliver(delivery),
      recall: () => this.#tell(() => role.receiver.recall()),
      lost: (error) => this.lose(error.message),
    }
  }

  begin(inner: Subscription): void {
    this.#inner = inner
    if (this.#isOver) void runIn(this.#world.atServer, () => inner.close())
    else if (this.#isPaused) inner.pause()
    this.#watch()
  }

  onEnd(listener: () => void): void {
    this.#ends.push(listener)
  }

  pause(): void {
    this.#isPaused = true
    this.#inner?.pause()
  }

  resume(): void {
    this.#isPaused = false
    const held = this.#held.splice(0)
    for (const each of held) each()
    if (!this.#isPaused) runIn(this.#world.atServer, () => this.#inner?.resume())
  }

  async close(): Promise<void> {
    this.cut()
  }

  /** Ends at once, without notice. Its loans go to others. */
  cut(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#held.length = 0
    for (const listener of this.#ends) listener()
    void runIn(this.#world.atServer, () => this.#inner?.close())
  }

  /** Ends with notice to the instance. */
  lose(why: string): void {
    if (this.#isOver) return
    this.cut()
    this.#instance.receive(1, () => this.#role.receiver.lost(new Error(why)))
  }

  /** A consumer that is frozen for too long has left the group without knowing. */
  #watch(): void {
    if (this.#isOver || !this.#instance.isAlive) return
    const wasFrozen = this.#instance.isFrozen
    this.#world.timeline.after(SESSION_MS, () => {
      if (wasFrozen && this.#instance.isFrozen) this.lose('the session has expired')
      this.#watch()
    })
  }

  #deliver(delivery: TransportDelivery): void {
    const point = `delivery of ${this.#role.place}`
    const fault = this.#world.faultAt(this.#instance, point, DELIVERY_FAULTS)
    // Not within the broker's own call, which continues with its current state.
    const next = (then: () => void): void => void this.#world.timeline.after(0, then)
    if (fault?.kind === 'kill') return next(() => this.#world.kill(this.#instance))
    if (fault?.kind === 'drop') return next(() => this.lose('the connection to the broker is lost'))
    if (fault?.kind === 'freeze') this.#world.freeze(this.#instance, fault)
    const lent = this.#lent(delivery)
    const handOver = (): void => {
      if (this.#under.delete(delivery)) this.#role.receiver.deliver(lent)
    }
    this.#under.add(delivery)
    this.#tell(() => {
      if (this.#isPaused) this.#held.push(handOver)
      else handOver()
    }, this.#world.faults.latencyMs(this.#instance, point) + this.#world.faults.delayMs(fault))
  }

  /** In order, unless it is over by then. */
  #tell(tell: () => void, delayMs = 1): void {
    const { timeline } = this.#world
    const atMs = this.#in.after(timeline.nowMs + delayMs)
    this.#instance.receiveAt(atMs, () => {
      if (!this.#isOver) tell()
    })
  }

  #lent(delivery: TransportDelivery): TransportDelivery {
    const { message, position, redelivered } = delivery
    let isSettled = false
    const once = (settle: () => void) => (): void => {
      if (isSettled || !this.#instance.isAlive) return
      isSettled = true
      settle()
    }
    return {
      message,
      position,
      redelivered,
      signal: this.#signalOf(delivery.signal),
      ack: once(() => this.#ack(delivery)),
      release: once(() => this.#release(delivery)),
    }
  }

  /** Signal for all loans of a group: they end at the same moment, as the contract of a transport requires. */
  #signalOf(loan: AbortSignal): AbortSignal {
    const known = this.#loans.get(loan)
    if (known !== undefined) return known
    const controller = new AbortController()
    this.#loans.set(loan, controller.signal)
    const withdrawn = (): void => void this.#instance.receive(1, () => controller.abort(loan.reason))
    if (loan.aborted) withdrawn()
    else loan.addEventListener('abort', withdrawn, { once: true })
    return controller.signal
  }

  #ack(delivery: TransportDelivery): void {
    const point = `ack of ${this.#role.place}`
    const fault = this.#world.faultAt(this.#instance, point, ACK_FAULTS)
    if (fault?.kind === 'kill') return this.#world.kill(this.#instance)
    if (fault?.kind === 'freeze') this.#world.freeze(this.#instance, fault)
    if (fault?.kind === 'drop') return this.lose('the connection to the broker is lost')
    const { timeline } = this.#world
    const sentMs =
      timeline.nowMs + this.#world.faults.latencyMs(this.#instance, point) + this.#world.faults.delayMs(fault)
    timeline.at(this.#out.after(sentMs), () => {
      this.#world.note(this.#instance.name, `${point}: ${delivery.position}`)
      runIn(this.#world.atServer, () => delivery.ack())
      if (fault?.kind === 'kill-after') this.#world.kill(this.#instance)
    })
  }

  /** Returns a delivery together with the later ones: otherwise they would be handled before it is redelivered. */
  #release(delivery: TransportDelivery): void {
    this.#world.note(this.#instance.name, `release of ${this.#role.place}: ${delivery.position}`)
    const back = [delivery, ...this.#under]
    this.#under.clear()
    runIn(this.#world.atServer, () => {
      for (const each of back) each.release()
    })
  }
}
