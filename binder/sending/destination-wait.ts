import type { Clock } from '../../core/clock.ts'
import { isRetryable, toError } from '../../core/errors.ts'
import type { EncodedMessage } from '../channel/message.ts'
import type { Transport } from '../transport/transport.ts'
import type { ProvisionedDestinations } from './destination-provisioning.ts'

export interface DestinationWaitEvents<Item> {
  /** The item's destination exists. Called in the order in which items were held. */
  onReady(item: Item): void
  onFailed(item: Item, error: Error): void
  /** The item's time limit passed before. */
  onLate(item: Item): void
  /** The result of `isHeld` has changed for some destination. */
  onHeld(): void
  /** Called when items become ready or fail. */
  onMoved(): void
}

/** Items that wait for one destination to be created, in order. */
interface Lane<Item> {
  readonly name: string
  readonly first: EncodedMessage
  items: Item[]
  /** Cancels the timer for the oldest one. */
  cancel: (() => void) | undefined
}

interface Held {
  readonly message: EncodedMessage
  /** On the monotonic clock. */
  readonly deadline: number
}

/** Names of destinations may come from messages. */
const MOST_SUSPECTS = 1_000
/** Maximum number of calls on one transport, because each uses channels or requests of the broker. */
const MOST_CALLS = 16

/** Calls to one transport. */
interface Calls<Item> {
  readonly waiting: Array<ReadonlyArray<Lane<Item>>>
  /** Number of running calls. */
  open: number
}

/**
 * Holds messages until their destination exists. Messages to other destinations do not wait for them, and the error of one
 * destination only concerns its own messages. Later messages to it queue behind them.
 */
export class DestinationWait<Item extends Held> {
  readonly #destinations: ProvisionedDestinations
  readonly #clock: Clock
  readonly #events: DestinationWaitEvents<Item>
  readonly #isAlone: boolean
  readonly #lanes: Map<string, Lane<Item>> = new Map()
  /** Destinations that failed together: which one caused the failure is unknown, so each is created separately. */
  readonly #suspects: Set<string> = new Set()
  #fresh: Array<Lane<Item>> = []
  /** Calls by transport: one that does not answer delays no calls to the others. */
  readonly #calls: Map<Transport, Calls<Item>> = new Map()

  /** @param isAlone true: one call for each destination, because they may be on different brokers */
  constructor(
    destinations: ProvisionedDestinations,
    clock: Clock,
    isAlone: boolean,
    events: DestinationWaitEvents<Item>,
  ) {
    this.#destinations = destinations
    this.#clock = clock
    this.#isAlone = isAlone
    this.#events = events
  }

  /** Tells whether messages to the destination wait here. */
  isHeld(destination: string): boolean {
    return this.#lanes.size > 0 && (this.#lanes.has(destination) || this.#lanes.has(delayed(destination)))
  }

  /** False: the message may be sent. True: it waits here, and `begin` follows. */
  holds(item: Item): boolean {
    const { message } = item
    const isKnown = this.#destinations.has(message)
    if (this.#lanes.size === 0 && isKnown) return false
    const name = laneOf(message)
    const lane = this.#lanes.get(name)
    if (lane === undefined && isKnown) return false
    if (lane === undefined) this.#add({ name, first: message, items: [item], cancel: undefined })
    else {
      lane.items.push(item)
      this.#time(lane)
    }
    return true
  }

  /** Creates new destinations, together as far as possible, because a new queue needs time to settle. */
  begin(): void {
    const together: Array<Lane<Item>> = []
    for (const lane of this.#fresh) {
      if (this.#isAlone || this.#suspects.has(lane.name)) this.#callsFor(lane).waiting.push([lane])
      else together.push(lane)
    }
    this.#fresh = []
    const [first] = together
    if (first !== undefined) this.#callsFor(first).waiting.push(together)
    for (const calls of this.#calls.values()) this.#pump(calls)
  }

  #callsFor({ first }: Lane<Item>): Calls<Item> {
    const owner = this.#destinations.ownerOf(first.destination)
    const known = this.#calls.get(owner)
    if (known !== undefined) return known
    const calls: Calls<Item> = { waiting: [], open: 0 }
    this.#calls.set(owner, calls)
    return calls
  }

  #add(lane: Lane<Item>): void {
    this.#lanes.set(lane.name, lane)
    this.#fresh.push(lane)
    this.#time(lane)
    this.#events.onHeld()
  }

  /** Items are in the order of their deadlines. */
  #time(lane: Lane<Item>): void {
    const [oldest] = lane.items
    if (oldest === undefined || lane.cancel !== undefined) return
    lane.cancel = this.#clock.setTimer(oldest.deadline - this.#clock.monotonic(), () => {
      lane.cancel = undefined
      const now = this.#clock.monotonic()
      const late = lane.items.filter(({ deadline }) => deadline <= now)
      lane.items = lane.items.filter(({ deadline }) => deadline > now)
      for (const item of late) this.#events.onLate(item)
      this.#time(lane)
      this.#events.onMoved()
    })
  }

  #pump(calls: Calls<Item>): void {
    while (calls.open < MOST_CALLS) {
      const lanes = calls.waiting.shift()
      if (lanes === undefined) return
      calls.open++
      void this.#prepare(lanes).finally(() => {
        calls.open--
        this.#pump(calls)
      })
    }
  }

  /** Never rejects. */
  async #prepare(lanes: ReadonlyArray<Lane<Item>>): Promise<void> {
    try {
      await this.#destinations.provision(lanes.map(({ first }) => this.#destinations.specFor(first)))
    } catch (cause) {
      const error = toError(cause)
      if (lanes.length > 1 && !isRetryable(error)) {
        for (const lane of lanes) await this.#prepare([lane])
        return
      }
      if (lanes.length > 1) this.#suspect(lanes)
      for (const lane of lanes) this.#fail(lane, error)
      this.#events.onMoved()
      return
    }
    for (const lane of lanes) this.#release(lane)
    this.#events.onMoved()
  }

  #suspect(lanes: ReadonlyArray<Lane<Item>>): void {
    if (this.#suspects.size > MOST_SUSPECTS) this.#suspects.clear()
    for (const { name } of lanes) this.#suspects.add(name)
  }

  #fail({ name, items, cancel }: Lane<Item>, error: Error): void {
    cancel?.()
    this.#lanes.delete(name)
    for (const item of items) this.#events.onFailed(item, error)
  }

  #release({ name, items, cancel }: Lane<Item>): void {
    cancel?.()
    this.#lanes.delete(name)
    this.#suspects.delete(name)
    for (const item of items) this.#events.onReady(item)
  }
}

/** Delayed messages need additional objects, and have no order with others. */
function laneOf({ destination, notBefore }: EncodedMessage): string {
  return notBefore === undefined ? destination : delayed(destination)
}

function delayed(destination: string): string {
  return `${destination} delayed`
}
