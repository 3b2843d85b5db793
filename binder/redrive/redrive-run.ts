import { backoffDelayMs } from '../../core/backoff.ts'
import { tell } from '../../core/unawaited-callbacks.ts'
import { claim } from '../assembly/claim-transport.ts'
import { RECONNECT_BACKOFF } from '../bindings/resolve-options.ts'
import type { Channel } from '../channel/channel.ts'
import { isRedriveMark } from '../channel/id-namespace.ts'
import { isPutByRun } from '../consuming/failure/dead-letter-message.ts'
import type { TransportDelivery } from '../transport/transport.ts'
import { DryRunEnd } from './dry-run-end.ts'
import { DryRunListing } from './dry-run-listing.ts'
import { LetterMoves } from './letter-moves.ts'
import { LetterReader } from './letter-reader.ts'
import { LostSubscription, lost } from './lost-subscription.ts'
import { placesOf, provisionPlaces, type RedrivePlaces } from './places.ts'
import {
  type RedriveHost,
  type RedriveOptions,
  type RedriveReport,
  type ResolvedRedrive,
  resolveRedrive,
} from './redrive.ts'
import { regainPosition } from './restore-position.ts'
import { type RunCounts, RunPatience } from './run-patience.ts'
import { RunProgressMark, TELL_MS } from './run-progress-mark.ts'
import { RunPublisher } from './run-publisher.ts'

type End = 'complete' | 'stopped'

/** A run from the first letter to its mark. Deliveries are processed one at a time, in order. */
export class RedriveRun {
  readonly #options: ResolvedRedrive
  readonly #places: RedrivePlaces
  readonly #counts: RunCounts = { sent: 0, kept: 0, copies: 0 }
  readonly #patience: RunPatience
  readonly #reader: LetterReader
  readonly #publisher: RunPublisher
  readonly #moves: LetterMoves
  /** For a dry run. */
  readonly #listing: DryRunListing
  /** For a dry run. */
  readonly #lookEnd: DryRunEnd | undefined
  readonly #settled = new RunProgressMark()

  constructor(options: ResolvedRedrive) {
    this.#options = options
    this.#places = placesOf(options)
    const { owner, letters } = this.#places
    this.#listing = new DryRunListing(options, this.#counts)
    this.#lookEnd = options.dryRun ? new DryRunEnd(owner, letters) : undefined
    this.#patience = new RunPatience(options, letters.name, this.#counts)
    this.#reader = new LetterReader(options, this.#places, this.#patience, this.#lookEnd)
    this.#publisher = new RunPublisher(options, this.#places, this.#patience)
    this.#moves = new LetterMoves(options, this.#counts, this.#publisher)
  }

  async run(): Promise<RedriveReport> {
    const { dryRun, to } = this.#options
    await provisionPlaces(this.#options, this.#places)
    await regainPosition(this.#options, this.#places)
    if (!dryRun) await this.#publisher.mark()
    this.#patience.renew()
    const end = await this.#readToEndAndTell()
    if (this.#moves.refusal !== undefined) throw this.#moves.refusal
    const { letters, skipped, isBeyondLimit } = this.#listing
    const complete = end === 'complete' && !this.#moves.isBeyondLimit && !isBeyondLimit
    return { ...this.#counts, complete, letters, to, ...(this.#options.after && { skipped }) }
  }

  async #readToEndAndTell(): Promise<End> {
    try {
      return await this.#readToEnd()
    } finally {
      await this.#settled.tell(this.#options, this.#places)
    }
  }

  /** A lost subscription is made again: unsettled letters are redelivered, settled ones are recognised by their ids. */
  async #readToEnd(): Promise<End> {
    const { clock, logger, signal } = this.#options
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#readUntilLost()
      } catch (error) {
        if (signal?.aborted) return 'stopped'
        if (!(error instanceof LostSubscription)) throw error
        if (this.#patience.leftMs <= 0) throw this.#patience.stalled(error.cause)
        logger.warn({ err: error.cause, attempt }, 'redrive has no subscription, connecting')
      }
      await clock.sleep(backoffDelayMs(RECONNECT_BACKOFF, attempt, Math.random()))
    }
  }

  /** @throws LostSubscription */
  async #readUntilLost(): Promise<End> {
    await this.#beginLook()
    if (this.#lookEnd?.hasReached() === true) return this.#endLook()
    const subscription = await this.#reader.subscribe()
    try {
      while (!this.#isEnough()) {
        if (this.#lookEnd?.hasReached() === true) return await this.#endLook()
        const delivery = await this.#next()
        if (delivery === undefined) return this.#lookEnd?.hasReached() === true ? await this.#endLook() : 'stopped'
        if (await this.#take(delivery)) return await this.#endRun()
      }
      return this.#options.dryRun ? 'stopped' : await this.#passMarks()
    } finally {
      this.#reader.giveBack()
      await subscription.close()
    }
  }

  /** Once it has kept messages at the end, later ones have to follow them to keep the order. */
  #isEnough(): boolean {
    const { sent, kept } = this.#counts
    return this.#options.dryRun ? this.#listing.isFull : sent >= this.#options.limit && kept === 0
  }

  /**
   * Returns the next delivery; `undefined` when the caller ends the run, or a dry run has read all. @throws the errors of
   * `LetterReader.next`
   */
  async #next(): Promise<TransportDelivery | undefined> {
    for (;;) {
      const delivery = await this.#reader.next(this.#lookEnd?.patienceMs)
      if (delivery !== 'waited') return delivery
      if (await this.#lookEnd?.recount().catch(lost)) return undefined
      this.#lookEnd?.marked()
      await this.#publisher.mark()
    }
  }

  /** @returns true if it was the mark, or is behind it */
  async #take(delivery: TransportDelivery): Promise<boolean> {
    const { message } = delivery
    const { dryRun, onProgress, id } = this.#options
    this.#lookEnd?.sees()
    if (isRedriveMark(message)) {
      this.#settle(delivery)
      if (message.id === id) await this.#listing.end()
      return message.id === id
    }
    // Another run removed the mark, which was before this one. It is not a copy of its original.
    if (isPutByRun(message, id)) {
      delivery.release()
      return true
    }
    if (!dryRun && delivery.signal.aborted) return this.#leave(delivery)
    try {
      await (dryRun ? this.#listing.add(message) : this.#moves.move(message, delivery))
    } catch (error) {
      if (!dryRun && delivery.signal.aborted) return this.#leave(delivery)
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

  /**
   * Releases a withdrawn letter, and all queued behind it to keep the order: another run has them now, or the broker redelivers
   * them.
   */
  #leave(delivery: TransportDelivery): false {
    delivery.release()
    this.#reader.giveBack()
    return false
  }

  /**
   * Settles marks directly behind the last letter of a run: otherwise counts of dead letters would include them until the next
   * run.
   */
  async #passMarks(): Promise<End> {
    for (;;) {
      const delivery = await this.#reader.last(TELL_MS)
      if (delivery === undefined || !isRedriveMark(delivery.message)) {
        delivery?.release()
        return 'stopped'
      }
      if (await this.#take(delivery)) return this.#endRun()
    }
  }

  #settle(delivery: TransportDelivery): void {
    delivery.ack()
    this.#settled.add(delivery.position)
  }

  /** Settles the run's own record behind its mark, too, unless letters precede it. */
  async #endRun(): Promise<End> {
    if (!(await this.#settled.tell(this.#options, this.#places))) return 'complete'
    const delivery = await this.#reader.last(TELL_MS)
    if (delivery !== undefined && isRedriveMark(delivery.message)) delivery.ack()
    else delivery?.release()
    return 'complete'
  }

  /** A dry run that starts again lists again. @throws LostSubscription */
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
}

/**
 * Sends the dead letters of a group back: `await redrive({ service: 'ops', transport }, orderPlaced, 'stock', { filter })`. Uses
 * its own connections, beside the service or from a script.
 * @throws TypeError / RangeError naming the option; `binder.redrive_would_repeat`; TransportError when the broker cannot be
 * reached at the start, or the group has no dead letter channel there; SendError when the broker can never take a letter, for a
 * letter that is too large only at the end of the run, which keeps it; `binder.redrive_stalled`; errors of `filter`. Letters
 * already moved stay moved.
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
