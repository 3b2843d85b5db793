import type { AcquireReply, AcquireRequest, Claim, LockStore, NotHeld } from 'concordat/extension'
import type { ClaimTerms } from '../inside/locks.ts'

type Answer<T> = T | Error | Promise<T>

/** Store with scripted answers, to put faults where a real one has them. Unscripted calls succeed. */
export class ScriptedStore implements LockStore {
  readonly name = 'scripted'
  readonly features = { fifo: true, shared: true, lockDelay: true, waiters: true } as const
  readonly operator = { missing: 'nobody operates it' }
  readonly calls: string[] = []
  readonly requests: Array<Claim & AcquireRequest> = []
  readonly acquires: Array<Answer<AcquireReply>> = []
  readonly extends: Array<Answer<'extended' | NotHeld>> = []
  readonly releases: Array<Answer<'released' | NotHeld>> = []
  readonly abandons: Array<Answer<undefined>> = []
  readonly abandoned: Array<{ value: string; forgetAfterMs: number }> = []
  readonly released: Array<{ value: string; forgetAfterMs: number }> = []
  readonly listeners = new Map<string, (token?: number) => void>()
  doubted: (value: string | undefined) => void = () => {}
  #values = 0
  #tokens = 0

  newValue({ owner }: ClaimTerms): string {
    return `${++this.#values}.${owner}`
  }

  acquire(claim: Claim, request: AcquireRequest): Promise<AcquireReply> {
    this.calls.push('acquire')
    this.requests.push({ ...claim, ...request })
    return answer(this.acquires.shift() ?? { status: 'granted', token: ++this.#tokens })
  }

  extend(): Promise<'extended' | NotHeld> {
    this.calls.push('extend')
    return answer(this.extends.shift() ?? 'extended')
  }

  release({ value }: Claim, forgetAfterMs: number): Promise<'released' | NotHeld> {
    this.calls.push('release')
    this.released.push({ value, forgetAfterMs })
    return answer(this.releases.shift() ?? 'released')
  }

  async abandon({ value }: Claim, forgetAfterMs: number): Promise<void> {
    this.calls.push('abandon')
    await answer(this.abandons.shift())
    this.abandoned.push({ value, forgetAfterMs })
  }

  async listen(value: string, onTurn: (token?: number) => void): Promise<() => void> {
    this.listeners.set(value, onTurn)
    return () => this.listeners.delete(value)
  }

  async inspect(): Promise<undefined> {}

  onDoubt(listener: (value: string | undefined) => void): void {
    this.doubted = listener
  }

  health(): { status: 'up' } {
    return { status: 'up' }
  }

  async close(): Promise<void> {
    this.calls.push('close')
  }
}

function answer<T>(value: Answer<T>): Promise<T> {
  return value instanceof Error ? Promise.reject(value) : Promise.resolve(value)
}

/** Never answers. */
export function silence<T>(): Promise<T> {
  return new Promise<T>(() => {})
}

export const busy: Extract<AcquireReply, { status: 'busy' }> = {
  status: 'busy',
  retryAfterMs: 5_000,
  position: undefined,
  owner: 'other',
}
