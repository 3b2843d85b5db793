import type { Clock } from '../../core/clock.ts'
import { invalidOption } from '../../core/errors.ts'
import { within } from '../../core/time-limit.ts'
import type { LockInfo } from '../lock.ts'
import type { AcquireReply, AcquireRequest, Claim, ClaimTerms, LockFeatures, LockStore, NotHeld } from '../store.ts'
import { STRAGGLER_MS } from '../undo.ts'
import { Ballot } from './ballot.ts'
import { Grants } from './grants.ts'
import { lockInfo } from './inspect.ts'
import { answered, type QuorumSettings, type Servers } from './servers.ts'
import type { Loss } from './tally.ts'
import type { NodeReply } from './time-limit.ts'
import { type Trace, Traces } from './trace.ts'
import { newValue, ownerOf } from './value.ts'

/** Newcomers that took the votes from each other try again this often, and for no more than this part of the ttl. */
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
  waiters: true,
}

/**
 * One lock on several servers that know nothing of each other: held by whom a majority has voted for. What one server
 * does is in `scripts.ts`, how votes are counted in `ballot.ts`, how a grant comes about in `grants.ts`.
 */
export class RedlockStore implements LockStore {
  readonly name = 'redlock'
  readonly features = FEATURES
  readonly operator = { missing: 'the servers have no common record. Delete the key of the lock on each of them' }
  readonly #servers: Servers
  readonly #settings: QuorumSettings
  readonly #clock: Clock
  readonly #ballot: Ballot
  readonly #grants: Grants
  readonly #traces: Traces
  readonly #running = new Set<Promise<unknown>>()

  constructor(servers: Servers, settings: QuorumSettings) {
    this.#servers = servers
    this.#settings = settings
    this.#clock = settings.clock
    this.#ballot = new Ballot(servers.size)
    this.#grants = new Grants(servers, this.#ballot, settings.clock, (work) => this.#inBackground(work))
    this.#traces = new Traces(() => settings.clock.monotonic())
  }

  newValue(terms: ClaimTerms): string {
    return newValue(terms)
  }

  async acquire(claim: Claim, request: AcquireRequest): Promise<AcquireReply> {
    const ttlMs = request.ttlMs + claim.lockDelayMs
    this.#requireCovered(claim, ttlMs)
    await this.#servers.open()
    const trace = this.#traces.open(claim.value, ttlMs)
    trace.waited ||= request.keepPlaceMs > 0
    const asked = { ...request, keepPlaceMs: this.#placeMs(request, trace) }
    const begunAt = this.#clock.monotonic()
    for (let round = 1; ; round++) {
      const result = await this.#grants.attempt(claim, asked, trace)
      if (typeof result === 'number') {
        trace.token = result
        return { status: 'granted', token: result }
      }
      if (result.kind === 'failed') {
        // Servers that are known to be away say so at once: who asks again and again must not stop the event loop.
        await new Promise((resolve) => setImmediate(resolve))
        throw result.error
      }
      const elapsedMs = this.#clock.monotonic() - begunAt
      const again = result.kind === 'split' && request.keepPlaceMs === 0 && !trace.over
      if (!again || round >= SPLIT_ROUNDS || elapsedMs > request.ttlMs * SPLIT_SHARE_OF_TTL) {
        return this.#busy(claim, request, trace, result)
      }
      // Much longer than a round takes, and longer each time, so that one of them has the field to itself.
      await this.#clock.sleep(Math.random() * SPLIT_PAUSE_MS * 2 ** round)
    }
  }

  async extend(claim: Claim, ttlMs: number): Promise<'extended' | NotHeld> {
    const keepMs = ttlMs + claim.lockDelayMs
    const trace = this.#traces.open(claim.value, keepMs)
    const round = this.#servers.round(ttlMs)
    const extended = await this.#ballot.extend(async (voter) =>
      answered(await round.ask(voter, (limit) => this.#servers.extend(voter, claim, keepMs, limit)), 1),
    )
    if (extended) {
      this.#inBackground(round.finished().then((replies) => this.#heal(claim, keepMs, trace, replies)))
      return 'extended'
    }
    const replies = await round.finished()
    const notOurs = replies.filter((reply) => reply?.kind === 'answer' && reply.answer !== 1).length
    if (notOurs >= this.#servers.majority) return 'lost'
    throw this.#servers.failure(replies, (answer) => (answer === 1 ? 'extended' : 'not ours any more'))
  }

  async release(claim: Claim, forgetAfterMs: number): Promise<'released' | NotHeld> {
    const trace = this.#traces.open(claim.value, 0)
    trace.over = true
    const round = this.#servers.round()
    const released = await this.#ballot.release(async (voter) => {
      const forgetMs = forgetAt(voter, trace, forgetAfterMs)
      const reply = await round.ask(voter, (limit) =>
        this.#servers.release(voter, claim, forgetMs, trace.waited, limit),
      )
      if (reply.kind === 'answer') trace.votes.delete(voter)
      if (answered(reply, 1)) trace.released.add(voter)
      return trace.released.has(voter)
    })
    if (released) {
      this.#inBackground(round.finished().then(() => this.#dropIfUndone(claim, trace)))
      return 'released'
    }
    const replies = await round.finished()
    const notOurs = replies.filter((reply, voter) => answered(reply, 0) && !trace.released.has(voter)).length
    if (notOurs < this.#servers.majority) {
      throw this.#servers.failure(replies, (answer) => (answer === 1 ? 'released' : 'not ours any more'))
    }
    this.#dropIfUndone(claim, trace)
    return 'lost'
  }

  async abandon(claim: Claim, forgetAfterMs: number): Promise<void> {
    const trace = this.#traces.get(claim.value)
    if (trace === undefined) return
    trace.over = true
    const round = this.#servers.round()
    const asked = this.#servers.names.map(async (_name, voter) => {
      const forgetMs = forgetAt(voter, trace, forgetAfterMs)
      const reply = await round.ask(voter, (limit) =>
        this.#servers.release(voter, claim, forgetMs, trace.waited, limit),
      )
      if (reply.kind === 'answer') trace.votes.delete(voter)
    })
    await Promise.all(asked)
    const replies = await round.finished()
    // A server that this claim never reached has nothing to undo.
    if (trace.votes.size > 0) throw this.#servers.failure(replies, () => 'undone')
    this.#traces.drop(claim.value)
  }

  /** Nobody is told of a release: waiters ask again by themselves. */
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
    await within(this.#clock, 2 * this.#settings.answerMs, Promise.allSettled(this.#running), undefined)
    this.#servers.close()
  }

  /** Servers that missed the grant, or forgot it, vote too: so the lock survives the loss of another one. */
  async #heal(claim: Claim, keepMs: number, trace: Trace, replies: readonly (NodeReply | undefined)[]): Promise<void> {
    const free = [...replies.keys()].filter((voter) => answered(replies[voter], -1))
    if (free.length === 0 || trace.token === 0 || trace.over) return
    const round = this.#servers.round(keepMs)
    const asked = free.map(async (voter) => {
      trace.votes.set(voter, 'unknown')
      const ask = (limit: Parameters<Servers['heal']>[4]): Promise<NodeReply> =>
        this.#servers.heal(voter, claim, keepMs, trace.token, limit)
      if ((await round.ask(voter, ask)).kind === 'answer') trace.votes.set(voter, 'granted')
    })
    await Promise.all(asked)
    await round.finished()
  }

  #busy(claim: Claim, request: AcquireRequest, trace: Trace, loss: Exclude<Loss, { kind: 'failed' }>): AcquireReply {
    const { position, inTheWay } = loss
    trace.position = position
    if (request.keepPlaceMs === 0) this.#dropIfUndone(claim, trace)
    return { status: 'busy', retryAfterMs: this.#pollMs(position), position, owner: ownerOf(inTheWay) }
  }

  /** The next in line asks most often, those behind it less and less; at random, so that two do not meet forever. */
  #pollMs(position: number | undefined): number {
    const pauseMs = this.#settings.pollMs * (1 + (position ?? 0)) * (1 + Math.random())
    return Math.ceil(Math.min(pauseMs, MAX_POLL_MS))
  }

  /** Long enough for a few of its polls, short enough not to hold up those behind a waiter that died. */
  #placeMs(request: AcquireRequest, trace: Trace): number {
    const { pollMs, answerMs } = this.#settings
    const longestPollMs = Math.min(MAX_POLL_MS, 2 * pollMs * (1 + (trace.position ?? SOME_POSITION)))
    return Math.ceil(Math.min(request.keepPlaceMs, 3 * longestPollMs + 2 * answerMs))
  }

  /** A longer lease could outlive the time that a server which forgot it keeps silent. */
  #requireCovered(claim: Claim, ttlMs: number): void {
    const { graceMs } = this.#settings
    if (graceMs === 0 || ttlMs <= graceMs) return
    const expected = `at most redlockLocks.restartGraceMs (${graceMs}, raise it everywhere), lockDelayMs included`
    throw invalidOption(`lock("${claim.key}").ttlMs`, ttlMs, expected)
  }

  #dropIfUndone(claim: Claim, trace: Trace): void {
    if (trace.votes.size === 0) this.#traces.drop(claim.value)
  }

  /** What goes on after a decision; `close` waits for it. */
  #inBackground(work: Promise<unknown>): void {
    this.#running.add(work)
    work.finally(() => this.#running.delete(work)).catch(() => {})
  }
}

/** For how long a server has to refuse stragglers of the claim. */
function forgetAt(voter: number, trace: Trace, forgetAfterMs: number): number {
  return trace.votes.get(voter) === 'unknown' ? Math.max(forgetAfterMs, STRAGGLER_MS) : forgetAfterMs
}
