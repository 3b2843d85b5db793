import type { Slot } from '../swap-remove-set.ts'
import type { Limited, NodeReply, TimeoutQueue } from './timeout-queue.ts'

/** Receives the reply of one server, and tells whether it is a vote for. Called once for each server that was asked. */
export type Judge = (reply: NodeReply, voter: number) => boolean

/** Sends the question to one server; the outcome goes to `settle` of the round. */
export type Send = (voter: number, round: Round) => void

/** A question to all servers under one time limit, which starts with the first, and their replies. */
export class Round implements Limited {
  /** By the number of the server; `undefined`: not asked, or no reply yet. */
  readonly replies: (NodeReply | undefined)[] = []
  readonly #limits: TimeoutQueue
  readonly #limitMs: number
  readonly #send: Send
  readonly #judge: Judge
  readonly #waiting: (((vote: number) => void) | undefined)[] = []
  #whenFinished: (() => void)[] | undefined
  #open = 0
  #place: Slot<Limited> | undefined
  #dueAt = 0

  /** @param size number of servers */
  constructor(limits: TimeoutQueue, size: number, limitMs: number, { send, judge }: { send: Send; judge: Judge }) {
    for (let voter = 0; voter < size; voter++) {
      this.replies.push(undefined)
      this.#waiting.push(undefined)
    }
    this.#limits = limits
    this.#limitMs = limitMs
    this.#send = send
    this.#judge = judge
  }

  get dueAt(): number {
    return this.#dueAt
  }

  /** Once for each server. Resolves in time, never rejects: 1 is a vote for, 0 one against. */
  ask(voter: number): Promise<number> {
    return new Promise((resolve) => {
      this.#begin(voter, resolve)
      this.#send(voter, this)
    })
  }

  /** `ask`, for a caller that also waits for the others: see `finished`. */
  tell(voter: number): void {
    this.#begin(voter, noop)
    this.#send(voter, this)
  }

  /** False if its time is over, or it has replied: another reply no longer counts. */
  awaits(voter: number): boolean {
    return this.#waiting[voter] !== undefined
  }

  settle(voter: number, reply: NodeReply): void {
    const resolve = this.#waiting[voter]
    if (resolve === undefined) return
    this.#waiting[voter] = undefined
    this.replies[voter] = reply
    resolve(this.#judge(reply, voter) ? 1 : 0)
    if (--this.#open === 0) this.#end()
  }

  expire(): void {
    const detail = `no answer within ${Math.round(this.#limitMs)} ms`
    for (const voter of this.#waiting.keys()) this.settle(voter, { kind: 'silent', outcome: 'unknown', detail })
  }

  /** Calls back when all asked servers have replied or exceeded their time. */
  whenFinished(callback: () => void): void {
    if (this.#open === 0) callback()
    else (this.#whenFinished ??= []).push(callback)
  }

  async finished(): Promise<readonly (NodeReply | undefined)[]> {
    if (this.#open > 0) await new Promise<void>((resolve) => this.whenFinished(resolve))
    return this.replies
  }

  #begin(voter: number, resolve: (vote: number) => void): void {
    this.#waiting[voter] = resolve
    this.#open++
    if (this.#place !== undefined) return
    this.#dueAt = this.#limits.dueAt(this.#limitMs)
    this.#place = this.#limits.begin(this)
  }

  #end(): void {
    if (this.#place !== undefined) this.#limits.end(this.#place)
    this.#place = undefined
    const callbacks = this.#whenFinished
    this.#whenFinished = undefined
    if (callbacks !== undefined) for (const callback of callbacks) callback()
  }
}

function noop(): void {}
