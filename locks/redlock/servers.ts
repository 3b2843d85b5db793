import type { Clock } from '../../core/clock.ts'
import type { Logger } from '../../core/logger.ts'
import { defineScript, type Script } from '../../core/redis/connection.ts'
import type { LockStoreRefused, LockStoreUnavailable } from '../errors.ts'
import type { Claim } from '../store.ts'
import type { QuorumNode } from './node.ts'
import { Round } from './round.ts'
import { EXTEND, HEAL, INSPECT, RELEASE, VOTE, WRITE_BACK } from './scripts.ts'
import { failureOf, majorityOf, replySaid } from './tally.ts'
import type { NodeReply, TimeLimit } from './time-limit.ts'

const voteScript = defineScript(VOTE)
const writeBackScript = defineScript(WRITE_BACK)
const extendScript = defineScript(EXTEND)
const healScript = defineScript(HEAL)
const releaseScript = defineScript(RELEASE)
const inspectScript = defineScript(INSPECT)

export interface QuorumSettings {
  readonly prefix: string
  /** Most that all servers together have for one question. */
  readonly answerMs: number
  /** The shortest pause of the next in line. */
  readonly pollMs: number
  readonly graceMs: number
  readonly clock: Clock
  readonly logger: Logger
}

/** No more of a ttl than this goes into one question. */
const SHARE_OF_TTL = 1 / 5
const MIN_LIMIT_MS = 20

/** What a vote asks beside its claim. */
export interface VoteRequest {
  readonly ttlMs: number
  readonly tokenFloor: number
  readonly keepPlaceMs: number
  readonly ticket: number
  readonly proposal: number
}

/** All servers of the quorum, and each script as a question to one of them. A reply never rejects and comes in time. */
export class Servers {
  readonly size: number
  readonly majority: number
  readonly names: readonly string[]
  readonly #nodes: readonly QuorumNode[]
  readonly #settings: QuorumSettings
  readonly #knownTwins = new Set<string>()
  #opening: Promise<unknown> | undefined

  constructor(nodes: readonly QuorumNode[], settings: QuorumSettings) {
    this.size = nodes.length
    this.majority = majorityOf(nodes.length)
    this.names = nodes.map(({ name }) => name)
    this.#nodes = nodes
    this.#settings = settings
  }

  /** Settles when each has been reached once, or could not be; never rejects. */
  open(): Promise<unknown> {
    this.#opening ??= Promise.all(this.#nodes.map((node) => node.open(this.#settings.answerMs)))
    return this.#opening
  }

  /** @param ttlMs a question takes a small part of it, and no more than `answerMs` */
  round<T = NodeReply>(ttlMs: number = Number.POSITIVE_INFINITY): Round<T> {
    const { clock, answerMs } = this.#settings
    return new Round<T>(clock, this.size, Math.min(answerMs, Math.max(MIN_LIMIT_MS, ttlMs * SHARE_OF_TTL)))
  }

  vote(voter: number, claim: Claim, request: VoteRequest, limit: TimeLimit): Promise<NodeReply> {
    const { lock, fence, line, places, dead } = this.#keys(claim)
    const { ttlMs, tokenFloor, keepPlaceMs, ticket, proposal } = request
    const args = [claim.value, ttlMs, tokenFloor, keepPlaceMs, ticket, proposal]
    const node = this.#node(voter)
    const ask = (): Promise<NodeReply> => node.ask(voteScript, [lock, fence, line, places, dead], args, limit)
    return node.vote(ask, limit, () => this.#twinOf(node))
  }

  writeBack(voter: number, claim: Claim, token: number, limit: TimeLimit): Promise<NodeReply> {
    const { lock, fence, line, places } = this.#keys(claim)
    return this.#ask(voter, writeBackScript, [lock, fence, line, places], [claim.value, token], limit)
  }

  extend(voter: number, claim: Claim, ttlMs: number, limit: TimeLimit): Promise<NodeReply> {
    return this.#ask(voter, extendScript, [this.#keys(claim).lock], [claim.value, ttlMs], limit)
  }

  heal(voter: number, claim: Claim, ttlMs: number, token: number, limit: TimeLimit): Promise<NodeReply> {
    const { lock, fence, dead } = this.#keys(claim)
    return this.#ask(voter, healScript, [lock, fence, dead], [claim.value, ttlMs, token], limit)
  }

  /** Takes the vote back, but keeps the place in the line. */
  takeBack(voter: number, claim: Claim, limit: TimeLimit): Promise<NodeReply> {
    return this.#release(voter, claim, [claim.value, 0, 0], limit)
  }

  /** @param waited it may have a place in the line */
  release(voter: number, claim: Claim, forgetMs: number, waited: boolean, limit: TimeLimit): Promise<NodeReply> {
    return this.#release(voter, claim, [claim.value, Math.ceil(forgetMs), waited ? 1 : 0], limit)
  }

  async inspect(key: string): Promise<readonly (NodeReply | undefined)[]> {
    const { lock, fence, line, places } = this.#keys({ key, value: '' })
    const round = this.round()
    const asked = this.names.map((_name, voter) =>
      round.ask(voter, (limit) => this.#ask(voter, inspectScript, [lock, fence, line, places], [], limit)),
    )
    await Promise.all(asked)
    return round.finished()
  }

  /** @param answer what servers that answered said, in words */
  failure(
    replies: readonly (NodeReply | undefined)[],
    answer: (value: unknown) => string,
  ): LockStoreUnavailable | LockStoreRefused {
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

  #release(voter: number, claim: Claim, args: readonly (string | number)[], limit: TimeLimit): Promise<NodeReply> {
    const { lock, line, places, dead } = this.#keys(claim)
    return this.#ask(voter, releaseScript, [lock, line, places, dead], args, limit)
  }

  #ask(
    voter: number,
    script: Script,
    keys: readonly string[],
    args: readonly (string | number)[],
    limit: TimeLimit,
  ): Promise<NodeReply> {
    return this.#node(voter).ask(script, keys, args, limit)
  }

  /** A server that another address leads to as well would have two votes: then neither counts. */
  #twinOf(node: QuorumNode): string | undefined {
    const { runId } = node
    const twin = this.#nodes.find((other) => other !== node && runId !== undefined && other.runId === runId)
    if (twin === undefined || runId === undefined) return undefined
    if (!this.#knownTwins.has(runId)) {
      this.#knownTwins.add(runId)
      const fields = { servers: [node.name, twin.name], runId }
      this.#settings.logger.error(fields, 'two addresses of a quorum lead to one Redis server: name each server once')
    }
    return `is the same server as ${twin.name}, name each server once`
  }

  #node(voter: number): QuorumNode {
    return this.#nodes[voter] as QuorumNode
  }

  #keys({ key, value }: Pick<Claim, 'key' | 'value'>): Readonly<Record<KeyName, string>> {
    const lock = `${this.#settings.prefix}{${key}}`
    return {
      lock,
      fence: `${lock}:fence`,
      line: `${lock}:line`,
      places: `${lock}:places`,
      dead: `${lock}:dead:${value}`,
    }
  }
}

type KeyName = 'lock' | 'fence' | 'line' | 'places' | 'dead'

/** True when the server answered with this number. */
export function answered(reply: NodeReply | undefined, answer: number): boolean {
  return reply?.kind === 'answer' && reply.answer === answer
}
