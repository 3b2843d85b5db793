/** Lets the publishers send, plays the faults at their share of the work, and watches progress until all is done. */
import { setTimeout as sleep } from 'node:timers/promises'
import { nowMs } from '../../faults/harness/events.ts'
import { GIVE_UP_BROKEN_MS, GIVE_UP_MS } from '../settings.ts'
import { ordersFor } from '../shop.ts'
import type { PlayedFault, RunFolder } from './folder.ts'
import { grantUpTo } from './grants.ts'
import type { House } from './house.ts'
import type { PlannedFault } from './plan.ts'
import { playFault } from './player.ts'
import type { Progress } from './progress.ts'
import type { Sampler } from './samples.ts'
import type { Staff } from './staff.ts'
import { type Stall, Stalls } from './stalls.ts'

/** State that outlives an interrupted run. */
export interface Kept {
  readonly elapsedMs: number
  readonly granted: number
  readonly allUpTo: number
  readonly stalls: readonly Stall[]
  readonly troubles: readonly string[]
  /** Number of starts of the run. */
  readonly lives: number
}

export interface Parts {
  readonly folder: RunFolder
  readonly house: House
  readonly staff: Staff
  readonly progress: Progress
  readonly sampler: Sampler
  /** Aborted with the error that ends the run, such as a failed write of its files. */
  readonly failure: AbortController
}

export interface Told {
  readonly orders: number
  readonly faults: number
  readonly elapsedMs: number
  readonly done: number
  readonly played: number
  readonly stalledMs: number
  readonly fault: string | undefined
}

export const KEPT = 'state.json'
const TICK_MS = 150
const KEEP_EVERY_MS = 2_000
const SAMPLE_EVERY_MS = 5_000

export class Conductor {
  readonly troubles: string[] = []
  readonly #parts: Parts
  readonly #plan: readonly PlannedFault[]
  readonly #signal: AbortSignal
  readonly #tell: (told: Told) => void
  readonly #lives: number
  readonly #stalls: Stalls
  #elapsedMs: number
  #granted: number
  #done = 0
  #played = 0
  #current: PlannedFault | undefined
  readonly #givesUp = new AbortController()
  readonly #stopping: AbortSignal

  constructor(parts: Parts, plan: readonly PlannedFault[], signal: AbortSignal, tell: (told: Told) => void) {
    const kept = parts.folder.kept<Kept>(KEPT)
    this.#parts = parts
    this.#plan = plan
    this.#signal = signal
    this.#stopping = AbortSignal.any([signal, this.#givesUp.signal, parts.failure.signal])
    this.#tell = tell
    this.#stalls = new Stalls(kept?.stalls)
    this.#elapsedMs = kept?.elapsedMs ?? 0
    this.#granted = kept?.granted ?? 0
    this.#lives = (kept?.lives ?? 0) + 1
    this.troubles.push(...(kept?.troubles ?? []))
  }

  /**
   * @param played faults that are over already. Resolves when all is done, or when nothing progresses any more (`troubles` says so). @throws when the run itself failed
   */
  async conduct(played: number): Promise<void> {
    this.#played = played
    const { failure } = this.#parts
    const ended = new AbortController()
    const ticking = this.#tick(ended.signal).catch((error: unknown) => failure.abort(error))
    try {
      for (const fault of this.#plan.slice(played)) await this.#play(fault)
      await this.#until(this.#orders)
    } catch (error) {
      failure.signal.throwIfAborted()
      if (this.#signal.aborted || !this.#givesUp.signal.aborted) throw error
    } finally {
      ended.abort()
      await ticking
      // A failed write must not hide why the run ends.
      if (!failure.signal.aborted) this.keep()
    }
  }

  /** Whether nothing was done for too long. */
  get gaveUp(): boolean {
    return this.#givesUp.signal.aborted
  }

  keep(): void {
    const { folder, progress, staff } = this.#parts
    const kept: Kept = {
      elapsedMs: this.#elapsedMs,
      granted: this.#granted,
      allUpTo: progress.allUpTo,
      stalls: this.#stalls.longest,
      troubles: [...this.troubles, ...staff.troubles],
      lives: this.#lives,
    }
    folder.keep(KEPT, kept)
  }

  get #orders(): number {
    return ordersFor(this.#parts.folder.file.options.messages)
  }

  async #play(fault: PlannedFault): Promise<void> {
    await this.#until(fault.beginsAt)
    const { house, staff, folder } = this.#parts
    const [done, atMs] = [this.#done, Math.round(this.#elapsedMs)]
    this.#stalls.blame(fault.kind.name, fault.number)
    this.#current = fault
    const { victim, tookMs, happened } = await playFault(fault, house, staff, this.#stopping)
    const healedAt = nowMs()
    await this.#until(Math.min(this.#done + 1, this.#orders))
    const movedMs = Math.round(nowMs() - healedAt)
    const line: PlayedFault = {
      number: fault.number,
      kind: fault.kind.name,
      victim,
      done,
      atMs,
      tookMs,
      movedMs,
      happened,
    }
    folder.append('faults', line)
    this.#current = undefined
    this.#played = fault.number + 1
  }

  /** Waits until `done` orders are done. @throws when nothing moves any longer */
  async #until(done: number): Promise<void> {
    while (this.#done < done) await sleep(TICK_MS, undefined, { signal: this.#stopping })
  }

  async #tick(ended: AbortSignal): Promise<void> {
    let [last, kept, sampled] = [nowMs(), 0, 0]
    while (!ended.aborted && !this.#signal.aborted && !this.#parts.failure.signal.aborted) {
      const seen = await this.#parts.progress.done().catch(() => undefined)
      const now = nowMs()
      this.#pace(now, now - last, seen)
      last = now
      if (now - sampled >= SAMPLE_EVERY_MS) {
        sampled = now
        this.#parts.sampler.take(this.#elapsedMs, this.#done)
      }
      if (now - kept >= KEEP_EVERY_MS) {
        kept = now
        this.keep()
      }
      await sleep(TICK_MS, undefined, { signal: ended }).catch(() => {})
    }
  }

  #pace(now: number, sinceMs: number, seen: number | undefined): void {
    this.#elapsedMs += sinceMs
    this.#done = seen ?? this.#done
    const stalledMs = this.#stalls.see(now, seen, this.#granted - this.#done)
    const { faults, broken } = this.#parts.folder.file.options
    this.#granted = grantUpTo({
      orders: this.#orders,
      faults,
      played: this.#played,
      done: this.#done,
      granted: this.#granted,
      elapsedMs: sinceMs,
    })
    this.#parts.staff.order({ do: 'grant', upTo: this.#granted })
    if (stalledMs > (broken === undefined ? GIVE_UP_MS : GIVE_UP_BROKEN_MS)) {
      if (!this.#givesUp.signal.aborted)
        this.#trouble(
          `nothing was done for ${Math.round(stalledMs / 1_000)} s: ${this.#done} of ${this.#orders} orders are done`,
        )
      this.#givesUp.abort()
    }
    const fault = this.#current?.kind.name
    this.#tell({
      orders: this.#orders,
      faults,
      elapsedMs: this.#elapsedMs,
      done: this.#done,
      played: this.#played,
      stalledMs,
      fault,
    })
  }

  #trouble(line: string): void {
    this.troubles.push(line)
  }
}
