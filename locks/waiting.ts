import type { Clock } from '../core/clock.ts'
import { hasCode } from '../core/errors.ts'
import { unlessAborted } from '../core/time-limit.ts'
import type { Acquisition, Won } from './acquisition.ts'
import type { AcquireReply, LockStore } from './store.ts'

type Busy = Extract<AcquireReply, { status: 'busy' }>

const OUTAGE_RETRY_MS = 100
/** Number of missed heartbeats after which a waiter has lost its place. */
const MISSES = 3

/**
 * Waits in the queue until granted. The order is: subscribe to turns (confirmed), take the place (which also tries), sleep until
 * woken or until the holder's time has passed. So no wake-up can fall between a try and the following sleep. A waiter that is
 * granted the lock during its sleep has it without a request, because none of its requests is under way then.
 * @param onBusy called for every refusal, for the error at the end
 */
export async function waitInLine(fields: {
  store: LockStore
  clock: Clock
  heartbeatMs: number
  /** After an outage of the store of this length it gives up with `locks.store_unavailable`. */
  outageMs: number
  acquisition: Acquisition
  /** Ends the wait: timeout, the caller's signal, or close. */
  over: AbortSignal
  onBusy: (reply: Busy) => void
}): Promise<Won> {
  const { store, clock, heartbeatMs, outageMs, acquisition, over } = fields
  const turn = new Turn()
  const ring = (token?: number): void => turn.ring(token)
  const wake = (): void => turn.ring()
  over.addEventListener('abort', wake, { once: true })
  let listening: { value: string; stop: () => void } | undefined
  let downSince: number | undefined
  try {
    for (;;) {
      over.throwIfAborted()
      let pauseMs: number
      try {
        if (listening?.value !== acquisition.value) {
          listening?.stop()
          listening = { value: acquisition.value, stop: await listen(store, acquisition.value, ring, over) }
        }
        const reply = await acquisition.attempt(heartbeatMs * MISSES, over)
        if (reply.status === 'won') return reply
        fields.onBusy(reply)
        downSince = undefined
        pauseMs = store.features.fifo === true ? pauseAfter(reply, heartbeatMs) : reply.retryAfterMs
      } catch (error) {
        if (!hasCode(error, 'locks.store_unavailable')) throw error
        const now = clock.monotonic()
        if (listening === undefined || now - (downSince ??= now) >= outageMs) throw error
        pauseMs = OUTAGE_RETRY_MS
      }
      const token = await turn.wait(clock, pauseMs)
      const handed = token === undefined || over.aborted ? undefined : acquisition.handedOver(token)
      if (handed !== undefined) return handed
    }
  } finally {
    over.removeEventListener('abort', wake)
    listening?.stop()
  }
}

async function listen(
  store: LockStore,
  value: string,
  ring: (token?: number) => void,
  over: AbortSignal,
): Promise<() => void> {
  const listening = store.listen(value, ring)
  try {
    return await unlessAborted(over, listening)
  } catch (error) {
    listening.then(
      (stop) => stop(),
      () => {},
    )
    throw error
  }
}

/**
 * The first in the queue wakes at the end of the holder's lease, the next two a little later in case the first has died; all
 * others only with their heartbeat, so that a crash does not wake all of them.
 */
function pauseAfter(reply: Busy, heartbeatMs: number): number {
  const position = reply.position ?? 0
  if (position > 2 || reply.retryAfterMs < 0) return heartbeatMs
  return Math.min(heartbeatMs, reply.retryAfterMs + 1 + position * 20)
}

/** A sleep that a wake-up ends early; a wake-up while awake is kept for the next sleep. */
class Turn {
  #rung = false
  /** Token of the last wake-up; a later one may mean that it no longer holds. */
  #token: number | undefined
  #wake: (() => void) | undefined

  ring(token?: number): void {
    this.#rung = true
    this.#token = token
    this.#wake?.()
  }

  /** Resolves with the token of the last wake-up, after a wake-up or `durationMs`. */
  async wait(clock: Clock, durationMs: number): Promise<number | undefined> {
    if (!this.#rung) {
      await new Promise<void>((resolve) => {
        const cancel = clock.setTimer(durationMs, resolve)
        this.#wake = () => {
          cancel()
          resolve()
        }
      })
    }
    const token = this.#token
    this.#token = undefined
    this.#wake = undefined
    this.#rung = false
    return token
  }
}
