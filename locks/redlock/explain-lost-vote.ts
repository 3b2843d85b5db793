import { LockError } from '../errors.ts'
import type { NodeReply } from './timeout-queue.ts'

/** A server's reply to a claim. */
export type Vote =
  | { readonly kind: 'granted'; readonly token: number; readonly serverUs: number }
  | {
      readonly kind: 'busy'
      /** Place in the queue of this server. */
      readonly position: number | undefined
      readonly inTheWay: string
      /** True if that claim has the vote of this server; otherwise it only waits here. */
      readonly held: boolean
    }
  /** The claim was given up before. */
  | { readonly kind: 'dead' }
  | Exclude<NodeReply, { kind: 'answer' }>

/** Meaning of a round without a majority. */
export type Loss =
  | { readonly kind: 'busy'; readonly inTheWay: string; readonly position: number | undefined }
  /** No claim has a majority: simultaneous claims split the votes. */
  | { readonly kind: 'split'; readonly inTheWay: string; readonly position: undefined }
  | { readonly kind: 'failed'; readonly error: LockError }

/** More than half of them. */
export function majorityOf(count: number): number {
  return Math.floor(count / 2) + 1
}

/**
 * Explains a round that gave the claim no majority; all votes are in, in the order of `names`.
 *
 * If fewer servers than a majority replied, no claim can have the lock, so waiting for a holder would be pointless: `failed`.
 * @param mayKeep tells whether the server with this number may still have its vote, which it was asked to take back
 */
export function judge(votes: readonly Vote[], names: readonly string[], mayKeep: (voter: number) => boolean): Loss {
  const majority = majorityOf(votes.length)
  const busy = votes.filter((vote) => vote.kind === 'busy')
  const answered = busy.length + votes.filter((vote) => vote.kind === 'granted').length
  if (answered < majority || busy.length === 0)
    return {
      kind: 'failed',
      error: failureOf(
        votes.map((vote, voter) => said(vote, mayKeep(voter))),
        names,
      ),
    }
  const inTheWay = mostFrequent(busy.map((vote) => vote.inTheWay))
  const withIt = busy.filter((vote) => vote.inTheWay === inTheWay).length
  if (withIt < majority && busy.every(({ held }) => held)) return { kind: 'split', inTheWay, position: undefined }
  const positions = busy.flatMap(({ position }) => position ?? [])
  return { kind: 'busy', inTheWay, position: positions.length === 0 ? undefined : Math.min(...positions) }
}

/** A server's reply, in words for an error. */
export interface Said {
  readonly kind: 'answered' | 'silent' | 'refused'
  /** The question may have been executed there without our knowledge. */
  readonly uncertain: boolean
  readonly text: string
}

/** Lists each server with its reply. */
export function failureOf(all: readonly Said[], names: readonly string[]): LockError {
  const majority = majorityOf(all.length)
  const texts = all.map(({ text }, index) => `${names[index]}: ${text}`).join('; ')
  const refused = all.filter(({ kind }) => kind === 'refused').length
  if (all.length - refused < majority) {
    return new LockError(
      'locks.store_refused',
      { store: 'redlock' },
      new Error(`${refused} of ${all.length} servers refuse (${texts})`),
    )
  }
  const answered = all.filter(({ kind }) => kind === 'answered').length
  const outcome = all.some(({ uncertain }) => uncertain) ? 'unknown' : 'not_done'
  const detail = `${answered} of ${all.length} servers answered, ${majority} must agree (${texts})`
  return new LockError('locks.store_unavailable', { store: 'redlock', outcome, detail })
}

/** @param answer converts a reply to words */
export function replySaid(reply: NodeReply | undefined, answer: (value: unknown) => string): Said {
  if (reply === undefined) return { kind: 'silent', uncertain: false, text: 'not asked' }
  if (reply.kind === 'answer') return { kind: 'answered', uncertain: false, text: answer(reply.answer) }
  const uncertain = reply.kind === 'silent' && reply.outcome === 'unknown'
  return { kind: reply.kind, uncertain, text: reply.detail }
}

function said(vote: Vote, mayKeep: boolean): Said {
  switch (vote.kind) {
    case 'granted':
      return { kind: 'answered', uncertain: mayKeep, text: mayKeep ? 'voted for it, and may still' : 'voted for it' }
    case 'busy':
      return { kind: 'answered', uncertain: false, text: vote.held ? 'has voted for another' : 'others wait there' }
    case 'dead':
      return { kind: 'answered', uncertain: false, text: 'it was given up there' }
    case 'silent':
    case 'refused':
      return replySaid(vote, String)
    default:
      return vote satisfies never
  }
}

export function mostFrequent(values: readonly string[]): string {
  const counts = new Map<string, number>()
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1)
  let best = ''
  for (const [value, count] of counts) if (count > (counts.get(best) ?? 0)) best = value
  return best
}
