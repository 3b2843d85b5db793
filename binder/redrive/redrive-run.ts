import { backoffDelayMs } from '../../core/backoff.ts'
import { tell } from '../../core/callbacks.ts'
import { DAY } from '../../core/clock.ts'
import { Queue } from '../../core/queue.ts'
import { unlessAborted } from '../../core/time-limit.ts'
import { turnsOf } from '../../core/turns.ts'
import { claim } from '../assembly/transport-owner.ts'
import { RECONNECT_BACKOFF } from '../bindings/options.ts'
import type { Channel } from '../channel/channel.ts'
import { type EncodedMessage, REDRIVE_END } from '../channel/message.ts'
import { type ConfirmHost, outcomeOf, publishUntilConfirmed } from '../consuming/failure/confirm.ts'
import { DEAD_LETTER_GROUP, isPutByRun, keptByRun } from '../consuming/failure/dead-letter.ts'
import { BinderError, type SendError } from '../errors.ts'
import type { Receiver, Subscription, TransportDelivery } from '../transport/transport.ts'
import { readDeadLetter } from './letter.ts'
import { Listing } from './listing.ts'
import { LookEnd } from './look-end.ts'
import { regainPosition } from './lost-position.ts'
import { LostSubscription, lost } from './lost-subscription.ts'
import { lookMark, runMark } from './marks.ts'
import { nameOf, replaceBy } from './moving.ts'
import { placesOf, provisionPlaces, type RedrivePlaces } from './places.ts'
import {
  type RedriveHost,
  type RedriveOptions,
  type RedriveReport,
  type ResolvedRedrive,
  resolveRedrive,
} from './redrive.ts'
import { asBefore, sendBack } from './send-back.ts'
import { SettledByRun, TELL_MS } from './settled-by-run.ts'

const PREFETCH = 50
const PREFETCH_BYTES = 16 * 1024 * 1024
/** The inbox of another group remembers for so long, unless it was given its own `retentionMs`, what it has handled. */
const INBOX_MS = 7 * DAY
/** Ids that are remembered, to know a copy. */
const MOST_IDS = 100_000

type End = 'complete' | 'stopped'

/** A run, from the mark to the mark. Deliveries are processed one at a time, in order. */
export class RedriveRun {
  readonly #options: ResolvedRedrive
  readonly #places: RedrivePlaces
  readonly #waiting: Queue<TransportDelivery> = new Queue()
  /** Letters that this run has sent back or kept, in the order of time. */
  readonly #passed: Set<string> = new Set()
  readonly #counts = { sent: 0, kept: 0, copies: 0 }
  /** For a dry run. */
  readonly #listing: Listing
  /** For a dry run. */
  readonly #lookEnd: LookEnd | undefined
  readonly #settled = new SettledByRun()
  #isBeyondLimit = false
  /** Why a letter did not go back: for the end of the run. */
  #refusal: SendError | undefined
  #hasWarned = false
  #lost: Error | undefined
  #wake: () => void = () => {}
  #nextAt = 0
  /** When the last letter came, monotonic. */
  #progressAt = 0
  /** Taking the first place may take its time. */
  #hasBegun = false

  constructor(options: ResolvedRedrive) {
    this.#options = options
    this.#places = placesOf(options)
    this.#listing = new Listing(options, this.#counts)
    this.#lookEnd = options.dryRun ? new LookEnd(this.#places.owner, this.#places.letters) : undefined
  }

  async run(): Promise<RedriveReport> {
    const { dryRun, to } = this.#options
    await provisionPlaces(this.#options, this.#places)
    await regainPosition(this.#options, this.#places)
    if (!dryRun) await this.#publish(this.#mark())
    this.#progressAt = this.#options.clock.monotonic()
    const end = await this.#readToEndAndTell()
    if (this.#refusal !== undefined) throw this.#refusal
    const { letters, skipped, isBeyondLimit } = this.#listing
    const complete = end === 'complete' && !this.#isBeyondLimit && !isBeyondLimit
    return { ...this.#counts, complete, letters, to, ...(this.#options.after && { skipped }) }
  }

  async #readToEndAndTell(): Promise<End> {
    try {
      return await this.#readToEnd()
    } finally {
      await this.#settled.tell(this.#options, this.#places)
    }
  }

  /** A subscription that is lost is made again: what was not settled comes back, what was is known by its id. */
  async #readToEnd(): Promise<End> {
    const { clock, logger, signal } = this.#options
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#readUntilLost()
      } catch (error) {
        if (signal?.aborted) return 'stopped'
        if (!(error instanceof LostSubscription)) throw error
        if (this.#leftMs() <= 0) throw this.#stalled(error.cause)
        logger.warn({ err: error.cause, attempt }, 'redrive has no subscription, connecting')
      }
      await clock.sleep(backoffDelayMs(RECONNECT_BACKOFF, attempt, Math.random()))
    }
  }

  /** @throws LostSubscription */
  async #readUntilLost(): Promise<End> {
    this.#lost = undefined
    await this.#beginLook()
    if (this.#lookEnd?.hasReached() === true) return this.#endLook()
    const subscription = await this.#subscribe()
    try {
      while (!this.#isEnough()) {
        if (this.#lookEnd?.hasReached() === true) return await this.#endLook()
        const delivery = await this.#next()
        if (delivery === undefined) return this.#lookEnd?.hasReached() === true ? await this.#endLook() : 'stopped'
        if (await this.#take(delivery)) return await this.#endRun()
      }
      return 'stopped'
    } finally {
      this.#giveBack()
      await subscription.close()
    }
  }

  /** Once it has kept messages at the end, later ones have to go there too, or they would come before. */
  #isEnough(): boolean {
    const { sent, kept } = this.#counts
    return this.#options.dryRun ? this.#listing.isFull : sent >= this.#options.limit && kept === 0
  }

  async #subscribe(): Promise<Subscription> {
    const { transport, dryRun, lookAt, lookAtBytes } = this.#options
    const receiver: Receiver = {
      deliver: (delivery) => {
        this.#lookEnd?.lends(delivery, () => receiver.lost(new Error('letters were taken away')))
        this.#waiting.push(delivery)
        this.#wake()
      },
      recall: () => this.#giveBack(),
      lost: (error) => {
        this.#lost = error
        this.#wake()
      },
    }
    const spec = {
      ...(this.#places.settling !== undefined && { settlesIn: this.#places.settling }),
      destination: this.#places.letters.name,
      partitions: this.#places.letters.partitions,
      group: DEAD_LETTER_GROUP,
      // A dry run settles nothing: what it looks at is all in its hands, and headers are counted with it.
      prefetch: dryRun ? lookAt : PREFETCH,
      prefetchBytes: dryRun ? Math.max(2 * lookAtBytes, PREFETCH_BYTES) : PREFETCH_BYTES,
    }
    try {
      const subscription = await transport.subscribe(spec, receiver)
      if (!this.#hasBegun) this.#progressAt = this.#options.clock.monotonic()
      this.#hasBegun = true
      return subscription
    } catch (error) {
      // Deliveries from before the failure are the broker's again: settling them would do nothing.
      this.#giveBack()
      return lost(error)
    }
  }

  /**
   * The next one in line; `undefined` when the caller wants no more, or a look has seen all.
   * @throws `binder.redrive_stalled`, LostSubscription
   */
  async #next(): Promise<TransportDelivery | undefined> {
    for (;;) {
      await turnsOf(this.#options.clock).give()
      if (this.#options.signal?.aborted) return undefined
      if (this.#lost !== undefined) throw new LostSubscription(this.#lost)
      const delivery = this.#waiting.shift()
      if (delivery !== undefined) {
        this.#progressAt = this.#options.clock.monotonic()
        return delivery
      }
      if (this.#leftMs() <= 0) throw this.#stalled()
      const patienceMs = this.#lookEnd?.patienceMs
      if ((await this.#somethingNew(patienceMs)) || patienceMs === undefined) continue
      if (await this.#lookEnd?.recount().catch(lost)) return undefined
      this.#lookEnd?.marked()
      await this.#publish(this.#mark())
    }
  }

  /** @returns false when it has waited for `patienceMs` */
  async #somethingNew(patienceMs: number = Number.POSITIVE_INFINITY): Promise<boolean> {
    const { clock, signal } = this.#options
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const wake = (): void => resolve(true)
    this.#wake = wake
    signal?.addEventListener('abort', wake, { once: true })
    const leftMs = this.#leftMs()
    const cancel = clock.setTimer(Math.min(leftMs, patienceMs), () => resolve(leftMs < patienceMs))
    const isNew = await promise
    cancel()
    signal?.removeEventListener('abort', wake)
    return isNew
  }

  /** Until the run has stalled. */
  #leftMs(): number {
    return this.#progressAt + this.#options.stallTimeoutMs - this.#options.clock.monotonic()
  }

  #stalled(cause?: unknown): BinderError {
    const { sent, kept } = this.#counts
    const fields = { destination: this.#places.letters.name, waitedMs: this.#options.stallTimeoutMs, sent, kept }
    return new BinderError('binder.redrive_stalled', fields, cause)
  }

  /** @returns whether it was the mark, or lies behind it */
  async #take(delivery: TransportDelivery): Promise<boolean> {
    const { message } = delivery
    const { dryRun, onProgress, id } = this.#options
    this.#lookEnd?.sees()
    if (message.type === REDRIVE_END) {
      this.#settle(delivery)
      if (message.id === id) await this.#listing.end()
      return message.id === id
    }
    // Another run took the mark away, which lay before this one. It is no copy of what it came from.
    if (isPutByRun(message, id)) {
      delivery.release()
      return true
    }
    // After a partition was taken again, its former deliveries come again.
    if (this.#places.settling !== undefined && delivery.signal.aborted) return false
    try {
      await (dryRun ? this.#listing.add(message) : this.#move(message, delivery))
    } catch (error) {
      if (this.#places.settling !== undefined && delivery.signal.aborted) return false
      delivery.release()
      throw error
    }
    if (!dryRun) this.#settle(delivery)
    const { logger } = this.#options
    tell(onProgress, { ...this.#counts }, (error) =>
      logger.error({ err: error, id }, 'redrive: `onProgress` failed, going on'),
    )
    return false
  }

  /** Confirmed at its new place when this resolves. */
  async #move(message: EncodedMessage, delivery: TransportDelivery): Promise<void> {
    const before = asBefore(message, this.#options)
    const name = nameOf(before)
    if (this.#passed.has(name)) {
      this.#counts.copies++
      return
    }
    const isChosen = await this.#choose(message)
    if (isChosen) {
      this.#warnOfAge(message)
      await this.#pace()
    }
    const isSent = isChosen && (await this.#goesBack(before, delivery))
    if (!isSent) await this.#publish(this.#kept(message), delivery)
    this.#counts[isSent ? 'sent' : 'kept']++
    this.#passed.add(name)
    if (this.#passed.size > MOST_IDS) for (const oldest of this.#passed) return void this.#passed.delete(oldest)
  }

  /** @returns false when it is too large to go back: then it is kept, and does not hold up the others */
  async #goesBack(before: EncodedMessage, delivery: TransportDelivery): Promise<boolean> {
    if (this.#options.to === 'nowhere') return true
    const refusal = await sendBack(before, this.#options, (message) => this.#publish(message, delivery))
    if (refusal === undefined) return true
    this.#options.logger.error(
      { err: refusal, messageId: before.id },
      'redrive keeps a letter that is too large to go back',
    )
    this.#refusal ??= refusal
    return false
  }

  /** Says once in a run that other groups can apply old letters a second time. */
  #warnOfAge(message: EncodedMessage): void {
    const { to, channel, group, clock, logger } = this.#options
    const { failedAt } = readDeadLetter(message)
    if (this.#hasWarned || to !== 'channel' || failedAt === undefined || clock.now() - failedAt <= INBOX_MS) return
    this.#hasWarned = true
    logger.warn(
      { channel: channel.name, group, failedAt: new Date(failedAt).toISOString() },
      'redrive sends letters back that failed more than 7 days ago: an inbox of another group that forgets after 7 days ' +
        "applies them again. Send them to the group alone (to: 'group'), or give inboxes a longer retentionMs",
    )
  }

  async #choose(message: EncodedMessage): Promise<boolean> {
    const { limit, filter, signal } = this.#options
    if (this.#counts.sent >= limit) {
      this.#isBeyondLimit = true
      return false
    }
    const chosen = Promise.resolve(filter(readDeadLetter(message)))
    return signal === undefined ? chosen : unlessAborted(signal, chosen)
  }

  #kept(message: EncodedMessage): EncodedMessage {
    return keptByRun({ ...message, destination: this.#places.letters.name }, this.#options.id)
  }

  async #pace(): Promise<void> {
    const { clock, perSecond, signal } = this.#options
    const waitMs = this.#nextAt - clock.monotonic()
    if (waitMs > 0) await clock.sleep(waitMs, signal)
    this.#nextAt = Math.max(this.#nextAt, clock.monotonic()) + 1_000 / perSecond
  }

  #mark(): EncodedMessage {
    const { id, clock, dryRun } = this.#options
    const fields = { id, destination: this.#places.letters.name, time: clock.now() }
    return dryRun ? lookMark(fields) : runMark(fields)
  }

  #settle(delivery: TransportDelivery): void {
    delivery.ack()
    this.#settled.add(delivery.position)
  }

  /** Behind the mark of the run: what it said of itself is settled too, unless letters lie before it. */
  async #endRun(): Promise<End> {
    if (!(await this.#settled.tell(this.#options, this.#places))) return 'complete'
    if (this.#waiting.length === 0) await this.#somethingNew(TELL_MS)
    const delivery = this.#waiting.shift()
    if (delivery?.message.type === REDRIVE_END) delivery.ack()
    else delivery?.release()
    return 'complete'
  }

  /**
   * @param instead a delivery that is settled with it, where the broker does both in one transaction
   * @throws `binder.redrive_stalled` while the broker is away for too long, SendError when it will never take it
   */
  async #publish(message: EncodedMessage, instead?: TransportDelivery): Promise<void> {
    const { clock, logger, transport, signal, stallTimeoutMs } = this.#options
    const settling = instead && this.#places.settling
    const to = message.destination === this.#places.target.name ? this.#places.target : this.#places.letters
    const publish: ConfirmHost['publish'] = async (messages) =>
      settling === undefined || instead === undefined
        ? transport.publish(messages, { deadline: clock.monotonic() + PUBLISH_TIMEOUT_MS })
        : [await outcomeOf(replaceBy(this.#places.owner, settling, instead, messages, to))]
    const host = { clock, logger, publish }
    const stall = new AbortController()
    const cancel = clock.setTimer(stallTimeoutMs, () => stall.abort(this.#stalled()))
    try {
      await publishUntilConfirmed(host, [message], () =>
        AbortSignal.any([signal, stall.signal, settling && instead?.signal].filter((each) => each !== undefined)),
      )
    } finally {
      cancel()
    }
  }

  /** A dry run that begins again lists again. @throws LostSubscription */
  async #beginLook(): Promise<void> {
    if (this.#lookEnd === undefined) return
    this.#listing.forget()
    Object.assign(this.#counts, { sent: 0, kept: 0, copies: 0 })
    await this.#lookEnd.begin().catch(lost)
  }

  async #endLook(): Promise<End> {
    await this.#listing.end()
    return 'complete'
  }

  #giveBack(): void {
    for (const delivery of this.#waiting.drain()) delivery.release()
  }
}

/**
 * Sends the dead letters of a group back: `await redrive({ service: 'ops', transport }, orderPlaced, 'stock', { filter })`.
 * Runs on its own connections, beside the service or from a script.
 * @throws TypeError / RangeError naming the option; `binder.redrive_would_repeat`; TransportError when the broker cannot be reached at the
 *   start; SendError when it will never take a letter, at the end of the run for one that is too large, which is kept;
 *   `binder.redrive_stalled`; what `filter` throws. What was done until then stays done.
 */
export async function redrive<In, Out>(
  host: RedriveHost,
  channel: Channel<In, Out>,
  group: string,
  options: RedriveOptions = {},
): Promise<RedriveReport> {
  const resolved = resolveRedrive(host, channel as unknown as Channel, group, options)
  const { transport, logger, clock, id } = resolved
  const instance = `${host.service}-redrive-${id.slice(-12)}`
  claim(transport, `the redrive "${instance}"`)
  transport.attach({ service: host.service, instance, logger, clock })
  try {
    return await new RedriveRun(resolved).run()
  } finally {
    await transport.close()
  }
}

const PUBLISH_TIMEOUT_MS = 30_000
