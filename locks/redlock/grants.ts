import type { Clock } from '../../core/clock.ts'
import { LockStoreUnavailable } from '../errors.ts'
import type { AcquireRequest, Claim } from '../store.ts'
import type { Ballot } from './ballot.ts'
import { Proposal } from './proposal.ts'
import { answered, type Servers, type VoteRequest } from './servers.ts'
import { judge, type Loss, type Vote } from './tally.ts'
import type { TimeLimit } from './time-limit.ts'
import type { Trace } from './trace.ts'

/**
 * One vote on one claim: ask all, write the token back, take back what a lost vote left.
 *
 *   ask all at once --majority--> token = highest of theirs --majority knows it--> granted
 *         |                                  |
 *         +-- no majority -------------------+--> votes taken back from all, also from those that did not answer
 */
export class Grants {
  readonly #servers: Servers
  readonly #ballot: Ballot
  readonly #proposal: Proposal
  /** Told of what goes on after the decision: late votes. */
  readonly #inBackground: (work: Promise<unknown>) => void

  constructor(servers: Servers, ballot: Ballot, clock: Clock, inBackground: (work: Promise<unknown>) => void) {
    this.#servers = servers
    this.#ballot = ballot
    this.#proposal = new Proposal(clock)
    this.#inBackground = inBackground
  }

  /** The token, or what came of the vote. `request.keepPlaceMs` is the place's own time. */
  async attempt(claim: Claim, request: AcquireRequest, trace: Trace): Promise<number | Loss> {
    const round = this.#servers.round<Vote>(request.ttlMs)
    const undoing = this.#servers.round(request.ttlMs)
    const undo = async (voter: number): Promise<boolean> => {
      const vote = trace.votes.get(voter)
      if (vote === undefined) return false
      const reply = await undoing.ask(voter, (limit) => this.#servers.takeBack(voter, claim, limit))
      // One that did not answer in time may get the question yet: it stays on the list for the end of the claim.
      if (reply.kind === 'answer' && trace.votes.get(voter) !== 'unknown') trace.votes.delete(voter)
      return true
    }
    const sentUs = this.#proposal.now()
    const wanted = { ...request, ttlMs: request.ttlMs + claim.lockDelayMs, proposal: this.#proposal.next(sentUs) }
    const won = await this.#ballot.acquire(async (voter) => {
      const asked = { ...wanted, ticket: trace.ticket }
      const vote = await round.ask(voter, (limit) => this.#vote(voter, claim, asked, trace, limit))
      if (vote.kind === 'granted') this.#proposal.learn(sentUs, vote.serverUs)
      return vote.kind === 'granted'
    }, undo)
    if (!won) {
      const votes = await round.finished()
      await undoing.finished()
      return judge(
        votes.map((vote) => vote ?? NOT_ASKED),
        this.#servers.names,
      )
    }
    this.#inBackground(round.finished())
    const token = Math.max(...round.answers.map((vote) => (vote?.kind === 'granted' ? vote.token : 0)))
    const error = await this.#writeBack(claim, token, request, round.answers)
    if (error === undefined) return token
    await Promise.all(this.#servers.names.map((_name, voter) => undo(voter)))
    await undoing.finished()
    return { kind: 'failed', error }
  }

  async #vote(voter: number, claim: Claim, request: VoteRequest, trace: Trace, limit: TimeLimit): Promise<Vote> {
    if (trace.over) return NOT_ASKED
    const before = trace.votes.get(voter)
    if (before !== 'unknown') trace.votes.set(voter, 'asked')
    const reply = await this.#servers.vote(voter, claim, request, limit)
    const vote = reply.kind === 'answer' ? readVote(reply.answer, trace) : reply
    if (vote.kind === 'silent' && vote.outcome === 'unknown') trace.votes.set(voter, 'unknown')
    // Released or undone meanwhile, or a request of before may still be under way.
    else if (trace.votes.get(voter) !== 'asked') return vote
    else if (vote.kind === 'granted') trace.votes.set(voter, 'granted')
    else if (reply.kind === 'answer' || before === undefined) trace.votes.delete(voter)
    else trace.votes.set(voter, before)
    return vote
  }

  /**
   * The tokens of each server rise, but the highest of one majority need not be above the highest of another: unless it
   * is known to a majority before it counts. @returns why it is not
   */
  async #writeBack(
    claim: Claim,
    token: number,
    request: AcquireRequest,
    votes: readonly (Vote | undefined)[],
  ): Promise<LockStoreUnavailable | undefined> {
    const knowing = votes.filter((vote) => vote?.kind === 'granted' && vote.token === token).length
    if (knowing >= this.#servers.majority) return undefined
    const round = this.#servers.round(request.ttlMs)
    const known = await this.#ballot.extend(async (voter) => {
      const vote = votes[voter]
      if (vote?.kind === 'granted' && vote.token === token) return true
      // A server that voted for another has nothing to keep, unless a place in its line is to be left.
      if (vote !== undefined && vote.kind !== 'granted' && request.keepPlaceMs === 0) return false
      return answered(await round.ask(voter, (limit) => this.#servers.writeBack(voter, claim, token, limit)), 1)
    })
    const finished = round.finished()
    if (known) {
      this.#inBackground(finished)
      return undefined
    }
    const why = this.#servers.failure(await finished, (answer) => (answer === 1 ? 'confirmed' : 'its vote is over'))
    const detail = 'a majority voted for it, but did not confirm the fencing token in time'
    return new LockStoreUnavailable('redlock', 'unknown', detail, why)
  }
}

const NOT_ASKED: Vote = { kind: 'silent', outcome: 'not_done', detail: 'not asked' }

function readVote(answer: unknown, trace: Trace): Vote {
  const [status, number] = answer as [number, number]
  if (status === 1) return { kind: 'granted', token: number, serverUs: (answer as [number, number, number])[2] }
  if (status === 2) return { kind: 'dead' }
  const [, , inTheWay, held, nowUs] = answer as [number, number, string, number, number]
  // The first server in whose line it stands gives the ticket for the lines of all.
  if (number >= 0 && trace.ticket === 0) trace.ticket = nowUs
  return { kind: 'busy', position: number < 0 ? undefined : number, inTheWay, held: held === 1 }
}
