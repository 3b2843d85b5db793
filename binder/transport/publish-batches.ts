import { lastingContext } from '../../core/async-contexts.ts'
import type { Clock } from '../../core/clock.ts'
import { toError } from '../../core/errors.ts'
import { Queue } from '../../core/queue.ts'
import type { EncodedMessage } from '../channel/message.ts'
import { notTakenInTime, TransportError } from '../errors.ts'
import { PublishHealth } from './publish-health.ts'
import type { PublishOutcome, Transport, TransportHealth } from './transport.ts'

const MAX_BATCH = 1_000
const MAX_BATCH_BYTES = 4 * 1024 * 1024
/** Largest difference between the deadlines in a batch, as a share of a message's time: the earliest holds for all. */
const SPREAD = 0.1
/** A batch that takes longer no longer blocks the next one. A healthy broker answers within it. */
const PATIENCE_MS = 250

/** A message on its way to a transport. */
interface Outgoing {
  readonly message: EncodedMessage
  /** On the monotonic clock. */
  readonly deadline: number
}

/** Queue of a destination that does not answer. */
interface SlowDestination<Entry> {
  readonly waiting: Queue<Entry>
  /** Batches in flight with messages for it. */
  open: number
}

interface Batch<Entry> {
  /** By index in the call; `undefined` once the message has its outcome. */
  readonly entries: Array<Entry | undefined>
  /** Destinations that wait for this batch, with the number of their messages without an outcome; `undefined` while all wait. */
  slow: Map<string, number> | undefined
}

export interface PublishBatchesHost<Entry> {
  /** Total time of a message, in ms. @default its remaining time */
  readonly timeoutMs?: number
  readonly settle: (entry: Entry, outcome: PublishOutcome) => void
  /** Called after messages got their outcomes. */
  readonly onMoved?: () => void
  /** A message waits for a destination that does not answer. */
  readonly onSlow?: (entry: Entry) => void
  /** `isSlow` has another answer for some destinations. */
  readonly onChange?: () => void
}

/**
 * Hands messages to a transport in batches, as many at once as it allows, in the order given. Messages gathered while the broker answers
 * for the batch before go out together, so a confirm costs a round trip per batch and not per message.
 *
 * A destination that does not answer (a partition without a leader, a queue without a majority) delays only its own messages: they wait
 * in a queue of their own until it answers again.
 */
export class PublishBatches<Entry extends Outgoing> {
  readonly #transport: Transport
  readonly #answered: PublishHealth
  readonly #clock: Clock
  readonly #host: PublishBatchesHost<Entry>
  readonly #waiting: Queue<Entry> = new Queue()
  readonly #slow: Map<string, SlowDestination<Entry>> = new Map()
  /** A batch carries what several sent: it goes out under the locks and in the transaction of none of them. */
  readonly #detached: <T>(work: () => T) => T = lastingContext()
  #open = 0

  constructor(transport: Transport, clock: Clock, host: PublishBatchesHost<Entry>) {
    this.#transport = transport
    this.#clock = clock
    this.#host = host
    this.#answered = new PublishHealth(transport, clock)
  }

  health(): TransportHealth {
    return this.#answered.health()
  }

  /** Whether the destination does not answer. */
  isSlow(destination: string): boolean {
    return this.#slow.size > 0 && this.#slow.has(destination)
  }

  /** Queues a message for the next `pump`. */
  push(entry: Entry): void {
    const slow = this.#slow.size === 0 ? undefined : this.#slow.get(entry.message.destination)
    if (slow === undefined) this.#waiting.push(entry)
    else {
      slow.waiting.push(entry)
      this.#host.onSlow?.(entry)
    }
  }

  pump(): void {
    while (this.#waiting.length > 0 && this.#open < this.#transport.publishConcurrency) {
      const entries = this.#take(this.#waiting)
      if (entries.length === 0) return
      this.#open++
      void this.#detached(() => this.#publish({ entries, slow: undefined }))
    }
  }

  #take(waiting: Queue<Entry>): Entry[] {
    const batch: Entry[] = []
    const now = this.#clock.monotonic()
    let bytes = 0
    let spreadMs = 0
    for (let next = waiting.peek(); next !== undefined && batch.length < MAX_BATCH; next = waiting.peek()) {
      const [first = next] = batch
      if (next.deadline < now) {
        waiting.shift()
        this.#host.settle(next, notTakenInTime(this.#transport.name, next.message))
        continue
      }
      bytes += next.message.body?.byteLength ?? 0
      if (next === first) spreadMs = SPREAD * (this.#host.timeoutMs ?? next.deadline - now)
      else if (bytes > MAX_BATCH_BYTES || !this.#goTogether(first, next, spreadMs)) break
      batch.push(next)
      waiting.shift()
    }
    return batch
  }

  #goTogether(first: Entry, next: Entry, spreadMs: number): boolean {
    const isOfOne = this.#transport.waitsForRoom === true
    if (isOfOne && next.message.destination !== first.message.destination) return false
    return next.deadline === first.deadline || Math.abs(next.deadline - first.deadline) <= spreadMs
  }

  async #publish(batch: Batch<Entry>): Promise<void> {
    const isolates = this.#transport.isolatesDestinations === true
    const cancel = isolates && batch.slow === undefined ? this.#whenSlow(batch) : undefined
    const outcomes = await this.#outcomes(batch, isolates)
    cancel?.()
    for (const [index, entry] of batch.entries.entries())
      if (entry !== undefined) this.#host.settle(entry, outcomes[index])
    if (batch.slow === undefined) this.#open--
    else for (const name of batch.slow.keys()) this.#next(name)
    this.pump()
    this.#host.onMoved?.()
  }

  /** All have the deadline of the oldest one. */
  async #outcomes(batch: Batch<Entry>, isolates: boolean): Promise<readonly PublishOutcome[]> {
    const { entries } = batch
    const known = entries as readonly Entry[]
    const messages = known.map(({ message }) => message)
    const deadline = known.reduce((earliest, entry) => Math.min(earliest, entry.deadline), Number.POSITIVE_INFINITY)
    const onOutcome = (index: number, outcome: PublishOutcome): void => {
      const entry = entries[index]
      if (entry === undefined) return
      entries[index] = undefined
      this.#host.settle(entry, outcome)
      this.#countOutcome(batch, entry.message.destination)
    }
    try {
      return await this.#answered.publish(messages, isolates ? { deadline, onOutcome } : { deadline })
    } catch (error) {
      // By contract it never rejects; if one does, callers must not wait forever.
      const outcome = asTransportError(this.#transport.name, error)
      return messages.map(() => outcome)
    }
  }

  /** The call may go on for other destinations: one whose messages all have their outcomes does not wait for its end. */
  #countOutcome({ slow }: Batch<Entry>, name: string): void {
    const left = slow?.get(name)
    if (slow === undefined || left === undefined) return
    slow.set(name, left - 1)
    if (left > 1) return
    slow.delete(name)
    // The transport reports the other outcomes of this moment first.
    queueMicrotask(() => {
      this.#next(name)
      this.#host.onMoved?.()
    })
  }

  #whenSlow(batch: Batch<Entry>): () => void {
    return this.#clock.setTimer(PATIENCE_MS, () => {
      const slow = new Map<string, number>()
      for (const entry of batch.entries) {
        const name = entry?.message.destination
        if (name !== undefined) slow.set(name, (slow.get(name) ?? 0) + 1)
      }
      if (slow.size === 0) return
      batch.slow = slow
      for (const name of slow.keys()) this.#slowOf(name).open++
      this.#open--
      for (const entry of batch.entries) if (entry !== undefined) this.#host.onSlow?.(entry)
      for (const entry of this.#waiting.drain()) this.push(entry)
      this.#host.onChange?.()
      this.pump()
      this.#host.onMoved?.()
    })
  }

  #slowOf(name: string): SlowDestination<Entry> {
    const known = this.#slow.get(name)
    if (known !== undefined) return known
    const slow: SlowDestination<Entry> = { waiting: new Queue(), open: 0 }
    this.#slow.set(name, slow)
    return slow
  }

  /** Sends the next batch to a slow destination, after the one before. With no message left, it goes with the others again. */
  #next(name: string): void {
    const slow = this.#slow.get(name)
    if (slow === undefined || --slow.open > 0) return
    const entries = this.#take(slow.waiting)
    if (entries.length === 0) {
      this.#slow.delete(name)
      this.#host.onChange?.()
    } else {
      slow.open = 1
      void this.#detached(() => this.#publish({ entries, slow: new Map([[name, entries.length]]) }))
    }
  }
}

export function asTransportError(transport: string, error: unknown): TransportError {
  if (error instanceof TransportError) return error
  const cause = toError(error)
  return new TransportError({ transport, kind: 'unavailable', message: cause.message, cause })
}
