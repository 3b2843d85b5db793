/** The lock server of the world, and how an instance sees it. */
import { systemClock } from 'concordat/core'
import {
  type AcquireReply,
  type AcquireRequest,
  type Claim,
  type LockStore,
  type NotHeld,
  randomId,
} from 'concordat/extension'
import { LockError } from 'concordat/locks'
import { type MemoryLockServer, memoryLockServer } from 'concordat/memory'
import type { FaultKind } from './faults.ts'
import type { Server } from './server.ts'
import type { SimulatedProcess } from './simulated-process.ts'
import type { World } from './world.ts'

const FAULTS: readonly FaultKind[] = [
  'kill',
  'kill-after',
  'freeze',
  'drop',
  'drop-after',
  'delay',
  'restart',
  'forget',
]
const HINT_FAULTS: readonly FaultKind[] = ['deafen', 'delay']
/** A call without a response within this time may have happened. */
const ANSWER_MS = 1_000

/** Keeps its locks over a restart, or loses them. */
export class LockServer {
  readonly server: Server
  #current: MemoryLockServer

  constructor(world: World) {
    this.server = world.server('locks')
    this.#current = memoryLockServer({ clock: systemClock })
    this.server.onRestart((forgets) => {
      if (forgets) this.#current = memoryLockServer({ clock: systemClock })
    })
  }

  get current(): MemoryLockServer {
    return this.#current
  }
}

export class SimulatedLockStore implements LockStore {
  readonly name = 'memory'
  readonly features = { fifo: true, shared: true, lockDelay: true } as const
  readonly operator = { missing: 'locks of a simulation have no operator' } as const
  readonly #world: World
  readonly #instance: SimulatedProcess
  readonly #locks: LockServer
  readonly #doubts: Array<(value: string | undefined) => void> = []
  readonly #stops = new Set<() => void>()

  constructor(world: World, instance: SimulatedProcess, locks: LockServer) {
    this.#world = world
    this.#instance = instance
    this.#locks = locks
    locks.server.onRestart(() => this.#lost())
    instance.onEnd(() => this.#deafen())
  }

  newValue(): string {
    return randomId()
  }

  acquire(claim: Claim, request: AcquireRequest): Promise<AcquireReply> {
    return this.#call('acquire', claim.key, () => {
      const reply = this.#locks.current.acquire(claim, request)
      if (reply !== 'given up') return reply
      throw new LockError('locks.store_unavailable', {
        store: 'memory',
        outcome: 'not_done',
        detail: 'this acquisition was given up before',
      })
    })
  }

  extend(claim: Claim, ttlMs: number): Promise<'extended' | NotHeld> {
    return this.#call('extend', claim.key, () => this.#locks.current.extend(claim, ttlMs))
  }

  release(claim: Claim, forgetAfterMs: number): Promise<'released' | NotHeld> {
    return this.#call('release', claim.key, () => this.#locks.current.release(claim, forgetAfterMs))
  }

  abandon(claim: Claim, forgetAfterMs: number): Promise<void> {
    return this.#call('abandon', claim.key, () => this.#locks.current.abandon(claim, forgetAfterMs))
  }

  async listen(value: string, onTurn: (token?: number) => void): Promise<() => void> {
    const stop = await this.#call('listen', '', () => {
      const end = this.#locks.current.listen(value, (token) => this.#hint(() => onTurn(token)))
      this.#stops.add(end)
      return end
    })
    return () => {
      this.#stops.delete(stop)
      stop()
    }
  }

  inspect(key: string): ReturnType<LockStore['inspect']> {
    return this.#call('inspect', key, () => this.#locks.current.inspect(key))
  }

  onDoubt(listener: (value: string | undefined) => void): void {
    this.#doubts.push(listener)
  }

  health(): { readonly status: 'up' | 'down' } {
    return { status: this.#locks.server.isAway ? 'down' : 'up' }
  }

  async close(): Promise<void> {
    this.#deafen()
  }

  #hint(tell: () => void): void {
    const fault = this.#world.faultAt(this.#instance, 'locks wake-up', HINT_FAULTS)
    if (fault?.kind === 'deafen') return
    this.#instance.receive(
      this.#world.faults.latencyMs(this.#instance, 'locks wake-up') + this.#world.faults.delayMs(fault),
      tell,
    )
  }

  /** Listeners receive nothing any longer; held locks must be verified after the reconnect. */
  #lost(): void {
    this.#deafen()
    this.#instance.receive(1, () => {
      for (const listener of this.#doubts) listener(undefined)
    })
  }

  #deafen(): void {
    for (const stop of this.#stops) stop()
    this.#stops.clear()
  }

  #call<T>(what: string, key: string, run: () => T): Promise<T> {
    return this.#world.call(this.#instance, {
      point: `locks ${what} ${key}`.trimEnd(),
      server: this.#locks.server,
      faults: FAULTS,
      run,
      answerMs: ANSWER_MS,
      lost: (isDone) =>
        new LockError('locks.store_unavailable', {
          store: 'memory',
          outcome: isDone ? 'unknown' : 'not_done',
          detail: 'the connection is lost',
        }),
      onDrop: () => this.#lost(),
    })
  }
}
