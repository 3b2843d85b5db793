/** The package `redlock` itself, for tests of its own behaviour. Its types cannot be imported by a subpath. */
export interface BareLock {
  readonly value: string
  readonly expiration: number
  release(): Promise<unknown>
  extend(durationMs: number): Promise<BareLock>
}

export interface BareSettings {
  readonly retryCount?: number
  readonly retryDelay?: number
  readonly retryJitter?: number
  readonly automaticExtensionThreshold?: number
}

export interface BareRedlock {
  acquire(keys: string[], durationMs: number, settings?: BareSettings): Promise<BareLock>
  release(lock: BareLock, settings?: BareSettings): Promise<unknown>
  using<T>(
    keys: string[],
    durationMs: number,
    settings: BareSettings,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T>
}

/** @param clients of ioredis, or something like them */
export async function bareRedlock(clients: readonly unknown[], settings: BareSettings = {}): Promise<BareRedlock> {
  const { default: Redlock } = (await import('redlock' as string)) as {
    default: new (clients: readonly unknown[], settings: BareSettings) => BareRedlock
  }
  return new Redlock(clients, settings)
}
