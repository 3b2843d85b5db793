import type { Clock } from '../../core/clock.ts'
import { show } from '../../core/errors.ts'
import { LockError } from '../errors.ts'
import type { AcquireRequest, Claim } from '../store.ts'
import type { Ballot } from './ballot.ts'
import type { ClaimVotes, TraceOfVote } from './claim-vote-records.ts'
import { judge, type Loss, type Vote } from './explain-lost-vote.ts'
import { answered, type Servers } from './servers.ts'
import type { NodeReply } from './timeout-queue.ts'
import { TokenProposal } from './token-proposal.ts'
import { idleVote, type Question, takeBack, vote, writeBack } from './vote-script-calls.ts'

/**
 * One vote on one claim: asks all, writes the token back, and takes back the remains of a lost vote.
 *
 *   ask all at once --majority--> token = highest of theirs --majority knows it--> granted
 *         |                                  |
 *         +-- no majority -------------------+--> votes taken back from all, also from those that did not reply
 */
export class MajorityVote {
  readonly #servers: Servers
  readonly #ballot: Ballot
  readonly #proposal: TokenProposal

  constructor(servers: Servers, ballot: Ballot, clock: Clock) {
    this.#servers = servers
    this.#ballot = ballot
    this.#proposal = new TokenProposal(clock)
  }

  /** The token, or the result of the vote. `request.keepPlaceMs` is the place's own time. */
  async attempt({ lockDelayMs }: Claim, request: AcquireRequest, trace: ClaimVotes): Promise<number | Loss> {
    const votes: (Vote | undefined)[] = []
    const before = trace.votes.slice()
    const sentUs = this.#proposal.now()
    const proposal = this.#proposal.next(sentUs)
    const { tokenFloor, keepPlaceMs } = request
    const asked = { ttlMs: request.ttlMs + lockDelayMs, tokenFloor, keepPlaceMs, ticket: trace.ticket, proposal }
    const { keys } = trace
    let over = false
    const first = keepPlaceMs === 0 ? idleVote(keys, asked) : vote(keys, asked)
    const questionOf = (afterNil: boolean): Question | undefined => {
      if (over || trace.over) return undefined
      return afterNil ? vote(keys, asked) : first
    }
    const round = this.#servers.election(request.ttlMs, questionOf, (reply, voter) => {
      const one = readVote(reply, trace, proposal)
      votes[voter] = one
      follow(trace, voter, one, before[voter])
      if (one.kind !== 'granted') return false
      this.#proposal.learn(sentUs, one.serverUs)
      return true
    })
    for (let voter = 0; voter < this.#servers.size; voter++) {
      if (before[voter] !== 'unknown') trace.votes[voter] = 'asked'
    }
    const won = await this.#ballot.vote(round)
    if (!won) {
      over = true
      const undone = this.#takeBack(request, trace)
      await round.finished()
      await undone
      return judge(
        Array.from(this.#servers.names, (_name, voter) => votes[voter] ?? NOT_ASKED),
        this.#servers.names,
        (voter) => trace.votes[voter] !== undefined,
      )
    }
    const token = highest(votes)
    const error = await this.#writeBack(token, request, trace, votes)
    if (error === undefined) return token
    over = true
    await this.#takeBack(request, trace)
    return { kind: 'failed', error }
  }

  /** From all servers that have voted, or may have. */
  async #takeBack(request: AcquireRequest, trace: ClaimVotes): Promise<void> {
    const question = takeBack(trace.keys)
    const undoing = this.#servers.round(
      request.ttlMs,
      () => question,
      (reply, voter) => {
        // A server that did not reply in time may still receive the question: it stays on the list until the end of the claim.
        if (reply.kind === 'answer' && trace.votes[voter] !== 'unknown') trace.votes[voter] = undefined
        return true
      },
    )
    for (const [voter, left] of trace.votes.entries()) if (left !== undefined) undoing.tell(voter)
    await undoing.finished()
  }

  /**
   * The tokens of each server increase, but the highest of one majority need not be above the highest of another, unless a
   * majority knows it before it counts. @returns why it is not
   */
  async #writeBack(
    token: number,
    request: AcquireRequest,
    trace: ClaimVotes,
    votes: readonly (Vote | undefined)[],
  ): Promise<LockError | undefined> {
    let knowing = 0
    for (const one of votes) if (knows(one, token)) knowing++
    if (knowing >= this.#servers.majority) return undefined
    const question = writeBack(trace.keys, token)
    const votesSoFar = votes.slice()
    const round = this.#servers.round(
      request.ttlMs,
      (voter) => {
        const one = votesSoFar[voter]
        if (knows(one, token)) return CONFIRMED
        // A server that voted for another claim has nothing to keep, unless a place in its queue is to be left.
        return one !== undefined && one.kind !== 'granted' && request.keepPlaceMs === 0 ? NOT_ASKED : question
      },
      (reply) => answered(reply, 1),
    )
    if (await this.#ballot.vote(round)) return undefined
    const replies = await round.finished()
    const why = this.#servers.failure(replies, (answer) => (answer === 1 ? 'confirmed' : 'its vote is over'))
    const detail = 'a majority voted for it, but did not confirm the fencing token in time'
    return new LockError('locks.store_unavailable', { store: 'redlock', outcome: 'unknown', detail }, why)
  }
}

const CONFIRMED: NodeReply = { kind: 'answer', answer: 1 }
const NOT_ASKED = { kind: 'silent', outcome: 'not_done', detail: 'not asked' } as const

function knows(one: Vote | undefined, token: number): boolean {
  return one?.kind === 'granted' && one.token === token
}

function highest(votes: readonly (Vote | undefined)[]): number {
  let token = 0
  for (const one of votes) if (one?.kind === 'granted' && one.token > token) token = one.token
  return token
}

/** Records what the reply of a server leaves there. @param before what the claim had left there before the question */
function follow(trace: ClaimVotes, voter: number, one: Vote, before: TraceOfVote): void {
  if (one.kind === 'silent' && one.outcome === 'unknown') trace.votes[voter] = 'unknown'
  // The claim was released or undone meanwhile, or an earlier request may still be in progress.
  else if (trace.votes[voter] !== 'asked') return
  else if (one.kind === 'granted') trace.votes[voter] = 'granted'
  else trace.votes[voter] = one.kind === 'silent' || one.kind === 'refused' ? before : undefined
}

function readVote(reply: NodeReply, trace: ClaimVotes, proposal: number): Vote {
  if (reply.kind !== 'answer') return reply
  if (typeof reply.answer === 'number') return { kind: 'granted', token: proposal, serverUs: reply.answer }
  if (!Array.isArray(reply.answer)) return { kind: 'refused', detail: `its answer is no vote: ${show(reply.answer)}` }
  const [status, number] = reply.answer as [number, number]
  if (status === 1) return { kind: 'granted', token: number, serverUs: (reply.answer as [number, number, number])[2] }
  if (status === 2) return { kind: 'dead' }
  const [, , inTheWay, held, nowUs] = reply.answer as [number, number, string, number, number]
  // The first server in whose queue it stands gives the ticket for the queues of all.
  if (number >= 0 && trace.ticket === 0) trace.ticket = nowUs
  return { kind: 'busy', position: number < 0 ? undefined : number, inTheWay, held: held === 1 }
}
