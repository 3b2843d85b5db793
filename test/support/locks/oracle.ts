import { ok } from 'node:assert/strict'
import type { AcquireReply } from 'concordat/extension'
import type { LockMode } from '../inside/locks.ts'

interface Wish {
  readonly actor: number
  readonly mode: LockMode
  readonly limit: number
}

interface Waiter extends Wish {
  /** Whether its turn came without an event (a holder expired or died): it gets no notification and asks by itself. */
  excused: boolean
}

/**
 * The lock contract for one key, in its shortest form: possible holders at the same time, their order, their tokens,
 * and the waiters to notify. Knows nothing of any store's implementation.
 */
export class Oracle {
  readonly #holders: Array<Wish & { readonly token: number; readonly ghost: boolean }> = []
  readonly #line: Waiter[] = []
  #lastToken = 0

  /** Granted exactly if the rule allows it; the token is above all before. */
  asked(wish: Wish, stays: boolean, reply: AcquireReply): void {
    const allowed = this.#hasRoom(wish) && (this.#line[0] === undefined || this.#ahead(wish.actor) === 0)
    ok((reply.status === 'granted') === allowed, `actor ${wish.actor} was ${reply.status}, allowed: ${allowed}`)
    const place = this.#line.findIndex(({ actor }) => actor === wish.actor)
    if (reply.status === 'granted') {
      if (place >= 0) this.#line.splice(place, 1)
      ok(reply.token > this.#lastToken, `token ${reply.token} after ${this.#lastToken}`)
      this.#lastToken = reply.token
      this.#holders.push({ ...wish, token: reply.token, ghost: false })
    } else if (place >= 0) {
      const waiter = this.#line[place]
      if (waiter !== undefined) waiter.excused = false
      // Notifications before its request do not count; from now on it needs another one.
    } else if (stays) this.#line.push({ ...wish, excused: false })
  }

  /** A holder that asks again has the same grant. */
  again(actor: number, reply: AcquireReply): void {
    const token = this.#holders.find((holder) => holder.actor === actor && !holder.ghost)?.token
    ok(
      reply.status === 'granted' && reply.token === token,
      `actor ${actor} holds ${token}, got ${JSON.stringify(reply)}`,
    )
  }

  left(actor: number): void {
    this.#remove(actor, false)
  }

  expired(actor: number, ghost: boolean): void {
    this.#remove(actor, ghost)
    this.#excuseFirst()
  }

  /** Removes a dead waiter from the queue; the lease of a dead holder continues. */
  died(actor: number): void {
    const held = this.#holders.findIndex((holder) => holder.actor === actor && !holder.ghost)
    const holder = this.#holders[held]
    if (holder !== undefined) this.#holders[held] = { ...holder, ghost: true }
    else this.#remove(actor, false)
    this.#excuseFirst()
  }

  forced(token: number): void {
    ok(token > this.#lastToken, `token ${token} after ${this.#lastToken}`)
    this.#lastToken = token
    this.#holders.length = 0
  }

  /** The waiter that must have been notified that there is room for it. */
  due(): number | undefined {
    const [first] = this.#line
    return first !== undefined && !first.excused && this.#hasRoom(first) ? first.actor : undefined
  }

  #hasRoom({ mode, limit }: Wish): boolean {
    if (this.#holders.some((holder) => holder.mode === 'exclusive')) return false
    return this.#holders.length < (mode === 'exclusive' ? 1 : limit)
  }

  #ahead(actor: number): number {
    const place = this.#line.findIndex((waiter) => waiter.actor === actor)
    return place < 0 ? this.#line.length : place
  }

  #excuseFirst(): void {
    const [first] = this.#line
    if (first !== undefined && this.#hasRoom(first)) first.excused = true
  }

  #remove(actor: number, ghost: boolean): void {
    const held = this.#holders.findIndex((holder) => holder.actor === actor && holder.ghost === ghost)
    if (held >= 0) this.#holders.splice(held, 1)
    const place = this.#line.findIndex((waiter) => waiter.actor === actor)
    if (place >= 0 && !ghost) this.#line.splice(place, 1)
  }
}
