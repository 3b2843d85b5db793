import type { Clock } from '../../core/clock.ts'
import { invalidOption } from '../../core/errors.ts'
import { turnsOf } from '../../core/event-loop-turns.ts'
import { within } from '../../core/time-limit.ts'
import type { LockInfo } from '../lock.ts'
import type { AcquireReply, AcquireRequest, Claim, ClaimTerms, LockFeatures, LockStore, NotHeld } from '../store.ts'
import { STRAGGLER_MS } from '../undo-acquisition.ts'
import { Ballot } from './ballot.ts'
import { type ClaimVotes, isUndone, Traces } from './claim-vote-records.ts'
import type { Loss } from './explain-lost-vote.ts'
import { lockInfo } from './inspect.ts'
import { MajorityVote } from './majority-vote.ts'
import type { Round } from './round.ts'
import { answered, type QuorumSettings, type Servers } from './servers.ts'
import type { NodeReply } from './timeout-queue.ts'
import { newValue, ownerOf } from './value.ts'
import { extend, heal, release } from './vote-script-calls.ts'

/** Newcomers that split the votes try again this often, and for no more than this part of the ttl. */
const SPLIT_ROUNDS = 6
const SPLIT_PAUSE_MS = 4
const SPLIT_SHARE_OF_TTL = 1 / 4
const MAX_POLL_MS = 1_000
/** The place of a waiter whose position is not known yet. */
const SOME_POSITION = 4

const FEATURES: LockFeatures = {
  fifo: { missing: 'each server has a line of its own, and waiters ask: about in order, not exactly' },
  shared: { missing: 'servers that count holders each for themselves need not agree on how many there are' },
  lockDelay: true,
}

/**
 * One lock on several servers that know nothing of each other, held by the claim for which a majority has voted. The steps on one
 * server are in `scripts.ts`, the counting of votes in `ballot.ts`, the grants in `majority-vote.ts`.
 */
export class RedlockStore implements LockStore {
  readonly name = 'redlock'
  readonly features = FEATURES
  readonly operator = { missing: 'the servers have no common record. Delete the key of the lock on each of them' }
  readonly #servers: Servers
  readonly #settings: QuorumSettings
  readonly #clock: Clock
  readonly #ballot: Ballot
  readonly #grants: MajorityVote
  readonly #traces: Traces
  readonly #running = new Set<Promise<unknown>>()

  constructor(servers: Servers, settings: QuorumSettings) {
    this.#servers = servers
    this.#settings = settings
    this.#clock = settings.clock
    this.#ballot = new Ballot(servers.size)
    this.#grants = new MajorityVote(servers, this.#ballot, settings.clock)
    this.#traces = new Traces(settings.prefix, () => settings.clock.monotonic())
  }

  newValue(terms: ClaimTerms): string {
    return newValue(terms)
  }

  async acquire(claim: Claim, request: AcquireRequest): Promise<AcquireReply> {
    const ttlMs = request.ttlMs + claim.lockDelayMs
    this.#requireCovered(claim, ttlMs)
    if (!this.#servers.isOpen) await this.#servers.open()
    const trace = this.#traces.open(claim, ttlMs)
    trace.waited ||= request.keepPlaceMs > 0
    const asked = request.keepPlaceMs === 0 ? request : { ...request, keepPlaceMs: this.#placeMs(request, trace) }
    const begunAt = this.#clock.monotonic()
    for (let round = 1; ; round++) {
      const result = await this.#grants.attempt(claim, asked, trace)
      if (typeof result === 'number') {
        trace.token = result
        return { status: 'granted', token: result }
      }
      if (result.kind === 'failed') {
        // Servers that are known to be unavailable fail at once: a caller that asks repeatedly must not block the event loop.
        await turnsOf(this.#clock).next()
        throw result.error
      }
      const elapsedMs = this.#clock.monotonic() - begunAt
      const again = result.kind === 'split' && request.keepPlaceMs === 0 && !trace.over
      if (!again || round >= SPLIT_ROUNDS || elapsedMs > request.ttlMs * SPLIT_SHARE_OF_TTL) {
        return this.#busy(claim, request, trace, result)
      }
      // Much longer than a round takes, and longer each time, so that one of them is alone.
      await this.#clock.sleep(Math.random() * SPLIT_PAUSE_MS * 2 ** round)
    }
  }

  async extend(claim: Claim, ttlMs: number): Promise<'extended' | NotHeld> {
    const keepMs = ttlMs + claim.lockDelayMs
    const trace = this.#traces.open(claim, keepMs)
    const question = extend(trace.keys, keepMs)
    const round = this.#servers.round(
      ttlMs,
      () => question,
      (reply) => answered(reply, 1),
    )
    if (await this.#ballot.vote(round)) {
      this.#inBackground(round.finished().then((replies) => this.#heal(keepMs, trace, replies)))
      return 'extended'
    }
    const replies = await round.finished()
    const notOurs = replies.filter((reply) => reply?.kind === 'answer' && reply.answer !== 1).length
    if (notOurs >= this.#servers.majority) return 'lost'
    throw this.#servers.failure(replies, (answer) => (answer === 1 ? 'extended' : 'not ours any more'))
  }

  async release(claim: Claim, forgetAfterMs: number): Promise<'released' | NotHeld> {
    const trace = this.#traces.open(claim, 0)
    const round = this.#undoing(trace, forgetAfterMs)
    if (await this.#ballot.vote(round)) {
      round.whenFinished(() => this.#dropIfUndone(claim, trace))
      return 'released'
    }
    const replies = await round.finished()
    const notOurs = replies.filter((reply, voter) => answered(reply, 0) && trace.released[voter] !== true).length
    if (notOurs < this.#servers.majority) {
      throw this.#servers.failure(replies, (answer) => (answer === 1 ? 'released' : 'not ours any more'))
    }
    this.#dropIfUndone(claim, trace)
    return 'lost'
  }

  async abandon(claim: Claim, forgetAfterMs: number): Promise<void> {
    const trace = this.#traces.get(claim.value)
    if (trace === undefined) return
    const round = this.#undoing(trace, forgetAfterMs)
    for (let voter = 0; voter < this.#servers.size; voter++) round.tell(voter)
    const replies = await round.finished()
    // A server that this claim never reached has nothing to undo.
    if (!isUndone(trace)) throw this.#servers.failure(replies, () => 'undone')
    this.#traces.drop(claim.value)
  }

  /** Releases notify no waiter: waiters poll. */
  async listen(): Promise<() => void> {
    return () => {}
  }

  async inspect(key: string): Promise<LockInfo | undefined> {
    await this.#servers.open()
    const replies = await this.#servers.inspect(key)
    const answers = replies.flatMap((reply) => (reply?.kind === 'answer' ? [reply.answer] : []))
    if (answers.length < this.#servers.majority) throw this.#servers.failure(replies, () => 'answered')
    return lockInfo(key, answers, this.#servers.size)
  }

  onDoubt(listener: (value: string | undefined) => void): void {
    this.#servers.onRestored(() => listener(undefined))
  }

  health(): { readonly status: 'up' | 'down' | 'idle'; readonly detail?: string | undefined } {
    return this.#servers.health()
  }

  async close(): Promise<void> {
    const ending = Promise.allSettled([...this.#running, this.#servers.quiet()])
    await within(this.#clock, 2 * this.#settings.answerMs, ending, undefined)
    this.#servers.close()
  }

  /** Ends a claim, and removes its remains on the servers. */
  #undoing(trace: ClaimVotes, forgetAfterMs: number): Round {
    trace.over = true
    return this.#servers.round(
      Number.POSITIVE_INFINITY,
      (voter) => release(trace.keys, forgetAt(voter, trace, forgetAfterMs), trace.waited),
      (reply, voter) => {
        if (reply.kind === 'answer') trace.votes[voter] = undefined
        if (answered(reply, 1)) trace.released[voter] = true
        return trace.released[voter] === true
      },
    )
  }

  /** Servers that missed the grant, or lost it, vote too, so that the lock survives the loss of another server. */
  async #heal(keepMs: number, trace: ClaimVotes, replies: readonly (NodeReply | undefined)[]): Promise<void> {
    const free = [...replies.keys()].filter((voter) => answered(replies[voter], -1))
    if (free.length === 0 || trace.token === 0 || trace.over) return
    const question = heal(trace.keys, keepMs, trace.token)
    const round = this.#servers.round(
      keepMs,
      () => question,
      (reply, voter) => {
        if (reply.kind === 'answer') trace.votes[voter] = 'granted'
        return true
      },
    )
    for (const voter of free) {
      trace.votes[voter] = 'unknown'
      round.tell(voter)
    }
    await round.finished()
  }

  #busy(
    claim: Claim,
    request: AcquireRequest,
    trace: ClaimVotes,
    loss: Exclude<Loss, { kind: 'failed' }>,
  ): AcquireReply {
    const { position, inTheWay } = loss
    trace.position = position
    const leftTrace = !isUndone(trace)
    if (request.keepPlaceMs === 0) this.#dropIfUndone(claim, trace)
    return { status: 'busy', retryAfterMs: this.#pollMs(position), position, owner: ownerOf(inTheWay), leftTrace }
  }

  /** The first waiter asks most often, later ones less and less; at random, so that two do not meet repeatedly. */
  #pollMs(position: number | undefined): number {
    const pauseMs = this.#settings.pollMs * (1 + (position ?? 0)) * (1 + Math.random())
    return Math.ceil(Math.min(pauseMs, MAX_POLL_MS))
  }

  /** Long enough for a few of its polls, short enough not to delay those behind a dead waiter. */
  #placeMs(request: AcquireRequest, trace: ClaimVotes): number {
    const { pollMs, answerMs } = this.#settings
    const longestPollMs = Math.min(MAX_POLL_MS, 2 * pollMs * (1 + (trace.position ?? SOME_POSITION)))
    return Math.ceil(Math.min(request.keepPlaceMs, 3 * longestPollMs + 2 * answerMs))
  }

  /** A longer lease could outlive the time for which a server that lost it stays silent. */
  #requireCovered(claim: Claim, ttlMs: number): void {
    const { graceMs } = this.#settings
    if (graceMs === 0 || ttlMs <= graceMs) return
    const expected = `at most redlockLocks.restartGraceMs (${graceMs}, raise it everywhere), lockDelayMs included`
    throw invalidOption(`lock("${claim.key}").ttlMs`, ttlMs, expected)
  }

  #dropIfUndone(claim: Claim, trace: ClaimVotes): void {
    if (isUndone(trace)) this.#traces.drop(claim.value)
  }

  /** Work that continues after a decision; `close` waits for it. */
  #inBackground(work: Promise<unknown>): void {
    this.#running.add(work)
    work.finally(() => this.#running.delete(work)).catch(() => {})
  }
}

/** How long a server has to refuse late requests of the claim. */
function forgetAt(voter: number, trace: ClaimVotes, forgetAfterMs: number): number {
  return trace.votes[voter] === 'unknown' ? Math.max(forgetAfterMs, STRAGGLER_MS) : forgetAfterMs
}
