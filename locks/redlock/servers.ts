import type { Clock } from '../../core/clock.ts'
import type { Logger } from '../../core/logger.ts'
import type { LockError } from '../errors.ts'
import { failureOf, majorityOf, replySaid } from './explain-lost-vote.ts'
import type { QuorumNode } from './node.ts'
import { type Judge, Round, type Send } from './round.ts'
import { type NodeReply, TimeoutQueue } from './timeout-queue.ts'
import { inspect, type Question, quorumKeys } from './vote-script-calls.ts'

export interface QuorumSettings {
  readonly prefix: string
  /** Maximum time of all servers together for one question. */
  readonly answerMs: number
  /** The shortest pause of the first waiter. */
  readonly pollMs: number
  readonly graceMs: number
  readonly clock: Clock
  readonly logger: Logger
}

/** Maximum share of a ttl for one question. */
const SHARE_OF_TTL = 1 / 5
const MIN_LIMIT_MS = 20

const NOT_WANTED: NodeReply = { kind: 'silent', outcome: 'not_done', detail: 'not asked' }

/** All servers of the quorum, and the rounds of questions to them. */
export class Servers {
  readonly size: number
  readonly majority: number
  readonly names: readonly string[]
  readonly #nodes: readonly QuorumNode[]
  readonly #settings: QuorumSettings
  readonly #limits: TimeoutQueue
  readonly #knownTwins = new Set<string>()
  #isOpen = false
  #opening: Promise<unknown> | undefined

  constructor(nodes: readonly QuorumNode[], settings: QuorumSettings) {
    this.size = nodes.length
    this.majority = majorityOf(nodes.length)
    this.names = nodes.map(({ name }) => name)
    this.#nodes = nodes
    this.#settings = settings
    this.#limits = new TimeoutQueue(settings.clock)
  }

  /** True when each server was reached once, or could not be reached. */
  get isOpen(): boolean {
    return this.#isOpen
  }

  /** Settles when `isOpen`; never rejects. */
  open(): Promise<unknown> {
    this.#opening ??= Promise.all(this.#nodes.map((node) => node.open(this.#settings.answerMs))).then(() => {
      this.#isOpen = true
    })
    return this.#opening
  }

  /**
   * @param ttlMs a question takes a small part of it, and no more than `answerMs`
   * @param questionOf the question, or the server's reply if it is already known
   */
  round(ttlMs: number, questionOf: (voter: number) => Question | NodeReply, judge: Judge): Round {
    const send = (voter: number, round: Round): void => {
      const question = questionOf(voter)
      if ('kind' in question) round.settle(voter, question)
      else this.#node(voter).ask(question, round, voter)
    }
    return this.#round(ttlMs, send, judge)
  }

  /**
   * A round among the servers that may vote.
   * @param questionOf called right before sending, and once more if the reply to the first is nil (it had no effect); returns
   * `undefined` if the vote is no longer wanted
   */
  election(ttlMs: number, questionOf: (afterNil: boolean) => Question | undefined, judge: Judge): Round {
    const put = (voter: number, round: Round, afterNil: boolean): void => {
      const node = this.#node(voter)
      // Also after nil: the connection may be another one by now.
      node.whoIsThere(round, voter, (identity) => {
        const bar = node.bar(identity) ?? this.#barOfTwin(node)
        const question = bar === undefined ? questionOf(afterNil) : undefined
        if (question === undefined) round.settle(voter, bar ?? NOT_WANTED)
        else node.ask(question, round, voter, afterNil ? undefined : again)
      })
    }
    const again = (voter: number, round: Round): void => put(voter, round, true)
    return this.#round(ttlMs, (voter, round) => put(voter, round, false), judge)
  }

  /** Resolves when no round waits for a server. */
  quiet(): Promise<void> {
    return this.#limits.none()
  }

  async inspect(key: string): Promise<readonly (NodeReply | undefined)[]> {
    const question = inspect(quorumKeys(this.#settings.prefix, key, ''))
    const round = this.round(
      Number.POSITIVE_INFINITY,
      () => question,
      () => true,
    )
    for (let voter = 0; voter < this.size; voter++) round.tell(voter)
    return round.finished()
  }

  /** @param answer converts the replies of servers to words */
  failure(replies: readonly (NodeReply | undefined)[], answer: (value: unknown) => string): LockError {
    return failureOf(
      replies.map((reply) => replySaid(reply, answer)),
      this.names,
    )
  }

  onRestored(listener: () => void): void {
    for (const node of this.#nodes) node.onRestored(listener)
  }

  health(): { readonly status: 'up' | 'down' | 'idle'; readonly detail?: string | undefined } {
    const states = this.#nodes.map((node) => ({ name: node.name, ...node.health() }))
    if (states.every(({ status }) => status === 'idle')) return { status: 'idle' }
    const away = states.filter(({ status }) => status !== 'up')
    const detail = away.map(({ name, detail: why }) => `${name}: ${why ?? 'not connected'}`).join('; ')
    const status = this.size - away.length >= this.majority ? 'up' : 'down'
    return detail === '' ? { status } : { status, detail }
  }

  close(): void {
    for (const node of this.#nodes) node.close()
  }

  #round(ttlMs: number, send: Send, judge: Judge): Round {
    const limitMs = Math.min(this.#settings.answerMs, Math.max(MIN_LIMIT_MS, ttlMs * SHARE_OF_TTL))
    return new Round(this.#limits, this.size, limitMs, { send, judge })
  }

  /** A server that is also reached by another address would have two votes: then neither counts. */
  #barOfTwin(node: QuorumNode): NodeReply | undefined {
    const { runId } = node
    if (runId === undefined) return undefined
    let twin: QuorumNode | undefined
    for (const other of this.#nodes) if (other !== node && other.runId === runId) twin ??= other
    if (twin === undefined) return undefined
    if (!this.#knownTwins.has(runId)) {
      this.#knownTwins.add(runId)
      const fields = { servers: [node.name, twin.name], runId }
      this.#settings.logger.error(fields, 'two addresses of a quorum lead to one Redis server: name each server once')
    }
    return { kind: 'refused', detail: `is the same server as ${twin.name}, name each server once` }
  }

  #node(voter: number): QuorumNode {
    return this.#nodes[voter] as QuorumNode
  }
}

/** True if the server replied with this number. */
export function answered(reply: NodeReply | undefined, answer: number): boolean {
  return reply?.kind === 'answer' && reply.answer === answer
}
