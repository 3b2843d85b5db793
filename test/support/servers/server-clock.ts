import { type Preloaded, preload, preloadLack } from './preloaded.ts'

/**
 * The wall clock of private servers, to be set forward and back while they run:
 *
 *     const clock = await serverClock()
 *     const server = await startServer('redis', { env: clock.env })
 *     clock.shift(60_000)
 *
 * A library loaded before all others adds what a file says; it is compiled when it is first needed. The monotonic clock
 * goes on as ever, like on a machine whose time is set.
 */
export interface ServerClock extends Pick<Preloaded, 'env' | 'dispose'>, Disposable {
  /** Sets how far ahead of the machine's (negative: behind) the clock is from now on; not added to what was set before. */
  shift(offsetMs: number): void
}

/** Why this machine cannot have such clocks; undefined when it can. For `it.skipIf`. */
export const serverClockLack = preloadLack

/** @throws Error naming what is missing, see `serverClockLack` */
export async function serverClock(): Promise<ServerClock> {
  const library = await preload('server-clock', 'SERVER_CLOCK_FILE', offset(0))
  return {
    env: library.env,
    shift: (offsetMs) => library.write(offset(offsetMs)),
    dispose: () => library.dispose(),
    [Symbol.dispose]: () => library.dispose(),
  }
}

/** In microseconds. */
function offset(offsetMs: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64LE(BigInt(Math.round(offsetMs * 1_000)))
  return bytes
}
