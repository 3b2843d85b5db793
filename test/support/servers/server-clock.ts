import { chmodSync, closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findBinary } from './binaries.ts'
import { runCommand } from './command.ts'

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
export interface ServerClock extends Disposable {
  /** For the server that is to have this clock; any number of servers may. */
  readonly env: Readonly<Record<string, string>>
  /** Sets how far ahead of the machine's (negative: behind) the clock is from now on; not added to what was set before. */
  shift(offsetMs: number): void
  /** Removes what it keeps on disk. Running servers keep the last offset. */
  dispose(): void
}

/** Why this machine cannot have such clocks; undefined when it can. For `it.skipIf`. */
export function serverClockLack(): string | undefined {
  if (process.platform !== 'linux') return 'a clock for servers needs Linux (LD_PRELOAD)'
  if (compiler() !== undefined) return undefined
  return 'a clock for servers needs a C compiler: install one (Debian: apt-get install gcc libc6-dev)'
}

/** @throws Error naming what is missing, see `serverClockLack` */
export async function serverClock(): Promise<ServerClock> {
  const file = compiler()
  const lack = serverClockLack()
  if (lack !== undefined || file === undefined) throw new Error(lack)
  const folder = mkdtempSync(join(tmpdir(), 'concordat-clock-'))
  chmodSync(folder, 0o755)
  try {
    const library = join(folder, 'server-clock.so')
    const source = fileURLToPath(new URL('./server-clock.c', import.meta.url))
    await runCommand({ file, args: ['-shared', '-fPIC', '-O1', '-o', library, source, '-ldl'] }, folder)
    return new FileClock(folder, library)
  } catch (error) {
    rmSync(folder, { recursive: true, force: true })
    throw error
  }
}

const compiler = (): string | undefined => findBinary('cc') ?? findBinary('gcc') ?? findBinary('clang')

class FileClock implements ServerClock {
  readonly env: Readonly<Record<string, string>>
  readonly #folder: string
  readonly #file: number
  #disposed = false

  constructor(folder: string, library: string) {
    const path = join(folder, 'offset')
    this.#folder = folder
    this.#file = openSync(path, 'w+')
    this.env = { LD_PRELOAD: library, SERVER_CLOCK_FILE: path }
    this.shift(0)
  }

  shift(offsetMs: number): void {
    const bytes = Buffer.alloc(8)
    bytes.writeBigInt64LE(BigInt(Math.round(offsetMs * 1_000)))
    writeSync(this.#file, bytes, 0, bytes.length, 0)
  }

  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    closeSync(this.#file)
    rmSync(this.#folder, { recursive: true, force: true })
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}
