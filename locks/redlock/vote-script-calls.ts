import { defineScript, type Script } from '../../core/redis/connection.ts'
import { EXTEND, HEAL, INSPECT, RELEASE, RELEASE_CERTAIN, VOTE, VOTE_IDLE, WRITE_BACK } from './scripts.ts'

const voteScript = defineScript(VOTE)
const voteIdleScript = defineScript(VOTE_IDLE)
const writeBackScript = defineScript(WRITE_BACK)
const extendScript = defineScript(EXTEND)
const healScript = defineScript(HEAL)
const releaseScript = defineScript(RELEASE)
const releaseCertainScript = defineScript(RELEASE_CERTAIN)
const inspectScript = defineScript(INSPECT)

/** A script with its arguments: created once, sent to all servers. */
export interface Question {
  readonly script: Script
  readonly keys: readonly string[]
  readonly args: readonly (string | number)[]
}

/** Keys of a claim. Their content: `scripts.ts`. */
export interface QuorumKeys {
  readonly value: string
  readonly lock: string
  readonly fence: string
  readonly line: string
  readonly places: string
  readonly dead: string
}

export function quorumKeys(prefix: string, key: string, value: string): QuorumKeys {
  const lock = `${prefix}{${key}}`
  return {
    value,
    lock,
    fence: `${lock}:fence`,
    line: `${lock}:line`,
    places: `${lock}:places`,
    dead: `${lock}:dead:${value}`,
  }
}

/** Fields of a vote other than its claim. */
export interface VoteRequest {
  readonly ttlMs: number
  readonly tokenFloor: number
  readonly keepPlaceMs: number
  readonly ticket: number
  readonly proposal: number
}

export function vote({ value, lock, fence, line, places, dead }: QuorumKeys, request: VoteRequest): Question {
  const { ttlMs, tokenFloor, keepPlaceMs, ticket, proposal } = request
  const args = [value, ttlMs, tokenFloor, keepPlaceMs, ticket, proposal]
  return { script: voteScript, keys: [lock, fence, line, places, dead], args }
}

/** Vote of a caller that wants no place in the queue. If the reply is nil, nothing was done: send `vote`. */
export function idleVote({ value, lock, fence, line, dead }: QuorumKeys, request: VoteRequest): Question {
  const { ttlMs, tokenFloor, proposal } = request
  return { script: voteIdleScript, keys: [lock, fence, line, dead], args: [value, ttlMs, tokenFloor, proposal] }
}

export function writeBack({ value, lock, fence, line, places }: QuorumKeys, token: number): Question {
  return { script: writeBackScript, keys: [lock, fence, line, places], args: [value, token] }
}

export function extend({ value, lock }: QuorumKeys, ttlMs: number): Question {
  return { script: extendScript, keys: [lock], args: [value, ttlMs] }
}

export function heal({ value, lock, fence, dead }: QuorumKeys, ttlMs: number, token: number): Question {
  return { script: healScript, keys: [lock, fence, dead], args: [value, ttlMs, token] }
}

/** Takes the vote back, but keeps the place in the queue. */
export function takeBack({ value, lock }: QuorumKeys): Question {
  return { script: releaseCertainScript, keys: [lock], args: [value] }
}

/** @param waited true if it may have a place in the queue */
export function release(claim: QuorumKeys, forgetMs: number, waited: boolean): Question {
  if (forgetMs === 0 && !waited) return takeBack(claim)
  const { value, lock, line, places, dead } = claim
  return { script: releaseScript, keys: [lock, line, places, dead], args: [value, Math.ceil(forgetMs), waited ? 1 : 0] }
}

export function inspect({ lock, fence, line, places }: QuorumKeys): Question {
  return { script: inspectScript, keys: [lock, fence, line, places], args: [] }
}
