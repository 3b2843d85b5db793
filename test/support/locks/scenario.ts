import type { AcquireReply, Claim, LockOperator, LockStore } from 'concordat/extension'
import fc from 'fast-check'
import type { ClaimTerms, LockInfo } from '../inside/locks.ts'
import { Oracle } from './oracle.ts'

/**
 * Event for one key. `who` picks one of the actors to whom it can happen at that moment; without any, the step has no
 * effect.
 */
export type Step = { readonly do: What; readonly who: number } | { readonly do: 'force' }

/** `answer`: the longest waiter asks, as one does whose turn it is. */
type What = 'try' | 'wait' | 'answer' | 'ask again' | 'miss heartbeats' | 'release' | 'abandon' | 'expire' | 'die'

const terms = (mode: ClaimTerms['mode'], limit: number): Omit<ClaimTerms, 'owner'> => ({ mode, limit, lockDelayMs: 0 })
const ACTORS = [
  terms('exclusive', 1),
  terms('exclusive', 1),
  terms('shared', Number.POSITIVE_INFINITY),
  terms('shared', Number.POSITIVE_INFINITY),
  terms('shared', 2),
  terms('shared', 2),
  terms('shared', 3),
]

/** @param missing also let waiters miss their heartbeats, which the oracle does not follow */
export function steps(missing: boolean): fc.Arbitrary<readonly Step[]> {
  const who = fc.integer({ min: 0, max: ACTORS.length - 1 })
  const of = (...what: What[]) => fc.record({ do: fc.constantFrom(...what), who }) as fc.Arbitrary<Step>
  return fc.array(
    fc.oneof(
      { weight: 6, arbitrary: of('wait') },
      { weight: 4, arbitrary: of('answer') },
      { weight: 3, arbitrary: of('release') },
      { weight: 2, arbitrary: of('try', 'abandon', 'ask again') },
      { weight: 1, arbitrary: of('expire', 'die', ...(missing ? (['miss heartbeats'] as const) : [])) },
      { weight: 1, arbitrary: fc.constant({ do: 'force' } as const) },
    ),
    { maxLength: 60 },
  )
}

/** The store as one process sees it. */
export interface Seat {
  readonly store: Pick<LockStore, 'newValue' | 'acquire' | 'extend' | 'release' | 'abandon' | 'listen'>
  /** Ends the process as if killed; resolves when the server can know. */
  die(): Promise<void>
}

export interface Table {
  seat(actor: number): Seat
  inspect(key: string): Promise<LockInfo | undefined>
  force(key: string): ReturnType<LockOperator['forceRelease']>
  /** Waits until places that were kept for a millisecond have expired. */
  letPlacesLapse(): Promise<void>
  /** Resolves when `rung()` holds, or when it will not. */
  settle(rung: () => boolean): Promise<void>
}

const LONG_MS = 600_000

interface Actor {
  seat: Seat
  state: 'idle' | 'waiting' | 'holding'
  claim: Claim
  rung: boolean
  /** Start of the wait; the longest waiter has the smallest one. */
  since: number
  stop: () => void
}

/** Plays steps on a store, and compares every answer with the oracle. The result can be compared with another play. */
export class Play {
  readonly #key: string
  readonly #table: Table
  readonly #oracle: Oracle | undefined
  readonly #actors: Actor[]
  /** Claims of holders that died. */
  readonly #ghosts = new Map<number, Claim>()
  readonly seen: string[] = []
  #asked = 0

  constructor(key: string, table: Table, follow: boolean) {
    this.#key = key
    this.#table = table
    this.#oracle = follow ? new Oracle() : undefined
    this.#actors = ACTORS.map((_, index) => {
      const seat = table.seat(index)
      return { seat, state: 'idle', claim: this.#claim(index, seat), rung: false, since: 0, stop: () => {} }
    })
  }

  async run(steps: readonly Step[]): Promise<void> {
    for (const step of steps) {
      await this.#step(step)
      await this.#look()
    }
  }

  /** Serves all waiters and releases all holders: nothing may stay stored. */
  async finish(): Promise<void> {
    for (let round = 0; this.#actors.some(({ state }) => state !== 'idle') || this.#ghosts.size > 0; round++) {
      if (round > ACTORS.length * 3) throw new Error(`never served: ${this.#actors.map(({ state }) => state).join()}`)
      for (const what of ['expire', 'ask again', 'release'] as const) {
        for (const index of this.#able(what)) await this.#happens(what, index)
      }
    }
  }

  #claim(actor: number, seat: Seat): Claim {
    const claimTerms = { ...(ACTORS[actor] as Omit<ClaimTerms, 'owner'>), owner: `actor ${actor}` }
    return { ...claimTerms, key: this.#key, value: seat.store.newValue(claimTerms) }
  }

  async #step(step: Step): Promise<void> {
    if (step.do === 'force') return this.#force()
    const able = this.#able(step.do)
    const index = able[step.who % able.length]
    if (index !== undefined) await this.#happens(step.do, index)
  }

  /** Actors to whom this can happen now. */
  #able(what: What): readonly number[] {
    return ACTORS.map((_, index) => index).filter((index) => {
      const { state, since } = this.#actors[index] as Actor
      const ghost = this.#ghosts.has(index)
      switch (what) {
        case 'try':
        case 'wait':
          return state === 'idle'
        case 'answer':
          return state === 'waiting' && this.#actors.every((other) => other.state !== 'waiting' || other.since >= since)
        case 'miss heartbeats':
          return state === 'waiting'
        case 'ask again':
        case 'abandon':
          return state !== 'idle'
        case 'release':
          return state === 'holding'
        case 'expire':
          return state === 'holding' || ghost
        case 'die':
          return state !== 'idle' && !ghost
        default:
          return what satisfies never
      }
    })
  }

  async #happens(what: What, index: number): Promise<void> {
    const actor = this.#actors[index] as Actor
    switch (what) {
      case 'try':
        return this.#ask(index, 0)
      case 'wait':
        actor.stop = await actor.seat.store.listen(actor.claim.value, () => {
          actor.rung = true
        })
        return this.#ask(index, LONG_MS)
      case 'answer':
      case 'ask again':
        return this.#ask(index, LONG_MS)
      case 'miss heartbeats':
        await this.#ask(index, 1)
        return this.#table.letPlacesLapse()
      case 'release':
        return this.#release(index)
      case 'abandon':
        return this.#abandon(index)
      case 'expire':
        return this.#expire(index)
      case 'die':
        return this.#die(index)
      default:
        what satisfies never
    }
  }

  async #ask(index: number, keepPlaceMs: number): Promise<void> {
    const actor = this.#actors[index] as Actor
    actor.rung = false
    const held = actor.state === 'holding'
    // Each a little longer than the previous one, so that the order of their ends does not depend on milliseconds.
    const ttlMs = LONG_MS + 1_000 * ++this.#asked
    const reply = await actor.seat.store.acquire(actor.claim, { ttlMs, tokenFloor: 0, keepPlaceMs })
    this.#saw(index, reply)
    if (held) {
      this.#oracle?.again(index, reply)
      return
    }
    const limit = actor.claim.limit
    this.#oracle?.asked({ actor: index, mode: actor.claim.mode, limit }, keepPlaceMs > 0, reply)
    if (reply.status === 'granted') {
      actor.stop()
      actor.state = 'holding'
    } else if (keepPlaceMs > 0) {
      if (actor.state === 'idle') actor.since = this.#asked
      actor.state = 'waiting'
    } else if (actor.state === 'idle') {
      actor.claim = this.#claim(index, actor.seat)
    }
  }

  async #release(index: number): Promise<void> {
    const actor = this.#actors[index] as Actor
    this.seen.push(`${index} ${JSON.stringify(await actor.seat.store.release(actor.claim, 0))}`)
    this.#oracle?.left(index)
    this.#retire(index)
  }

  async #abandon(index: number): Promise<void> {
    const actor = this.#actors[index] as Actor
    actor.stop()
    await actor.seat.store.abandon(actor.claim, 1_000)
    this.#oracle?.left(index)
    this.#retire(index)
  }

  async #expire(index: number): Promise<void> {
    const actor = this.#actors[index] as Actor
    const ghost = this.#ghosts.get(index)
    if (ghost !== undefined) {
      this.#ghosts.delete(index)
      await actor.seat.store.extend(ghost, 0)
      this.#oracle?.expired(index, true)
    }
    if (actor.state !== 'holding') return
    await actor.seat.store.extend(actor.claim, 0)
    this.#oracle?.expired(index, false)
    this.#retire(index)
  }

  async #die(index: number): Promise<void> {
    const actor = this.#actors[index] as Actor
    if (actor.state === 'holding') this.#ghosts.set(index, actor.claim)
    actor.stop()
    await actor.seat.die()
    this.#oracle?.died(index)
    actor.seat = this.#table.seat(index)
    this.#retire(index)
  }

  async #force(): Promise<void> {
    const forced = await this.#table.force(this.#key)
    if ('others' in forced) throw new Error('a forced release without tokens was refused')
    this.seen.push(
      `ended ${forced.ended
        .map(({ owner, mode }) => `${owner} ${mode}`)
        .toSorted()
        .join()}`,
    )
    this.#oracle?.forced(forced.token)
    this.#ghosts.clear()
    for (const [index, actor] of this.#actors.entries()) {
      if (actor.state !== 'holding') continue
      this.seen.push(`${index} ${JSON.stringify(await actor.seat.store.extend(actor.claim, LONG_MS))}`)
      const again = actor.seat.store.acquire(actor.claim, { ttlMs: 1, tokenFloor: 0, keepPlaceMs: 0 })
      this.seen.push(await again.then(({ status }) => status).catch((error: { code: string }) => error.code))
      this.#retire(index)
    }
  }

  #retire(index: number): void {
    const actor = this.#actors[index] as Actor
    actor.state = 'idle'
    actor.claim = this.#claim(index, actor.seat)
  }

  #saw(index: number, reply: AcquireReply): void {
    const busy = reply.status === 'busy' ? ` at ${reply.position} behind ${reply.owner}` : ''
    this.seen.push(`${index} ${reply.status}${busy}`)
  }

  /** Checks notified actors, and the store's state. */
  async #look(): Promise<void> {
    const due = this.#oracle?.due()
    if (due !== undefined) {
      const actor = this.#actors[due] as Actor
      await this.#table.settle(() => actor.rung)
      if (!actor.rung) throw new Error(`there is room for actor ${due}, but nobody told it: ${this.seen.join('; ')}`)
    }
    const info = await this.#table.inspect(this.#key)
    const holders = info?.holders.map(({ owner, mode, permits }) => `${owner} ${mode} ${permits}`)
    const waiters = info?.waiters.map(({ owner, mode, permits }) => `${owner} ${mode} ${permits}`)
    this.seen.push(`held by ${holders?.join()}; waiting ${waiters?.join()}`)
  }
}
