/** A C library that is loaded into a server before all others, and the bytes of a file that steer it while the server runs. */
import { chmodSync, closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findBinary } from './binaries.ts'
import { runCommand } from './command.ts'

export interface Preloaded extends Disposable {
  /** For the server that is to have it; any number of servers may. */
  readonly env: Readonly<Record<string, string>>
  /** Steers it from now on. Of the same length each time. */
  write(bytes: Uint8Array): void
  /** Removes what it keeps on disk. Running servers keep the last bytes. */
  dispose(): void
}

/** Why this machine cannot load such libraries; undefined when it can. For `it.skipIf`. */
export function preloadLack(): string | undefined {
  if (process.platform !== 'linux') return 'a library that is loaded into a server needs Linux (LD_PRELOAD)'
  if (compiler() !== undefined) return undefined
  return 'a library that is loaded into a server needs a C compiler: install one (Debian: apt-get install gcc libc6-dev)'
}

/**
 * @param name of the C file beside this one
 * @param variable in which the library finds the path of its file
 * @throws Error naming what is missing, see `preloadLack`
 */
export async function preload(name: string, variable: string, bytes: Uint8Array): Promise<Preloaded> {
  const file = compiler()
  const lack = preloadLack()
  if (lack !== undefined || file === undefined) throw new Error(lack)
  const folder = mkdtempSync(join(tmpdir(), 'concordat-preload-'))
  chmodSync(folder, 0o755)
  try {
    const library = join(folder, `${name}.so`)
    const source = fileURLToPath(new URL(`./${name}.c`, import.meta.url))
    await runCommand({ file, args: ['-shared', '-fPIC', '-O1', '-o', library, source, '-ldl'] }, folder)
    return new PreloadedLibrary(folder, library, variable, bytes)
  } catch (error) {
    rmSync(folder, { recursive: true, force: true })
    throw error
  }
}

const compiler = (): string | undefined => findBinary('cc') ?? findBinary('gcc') ?? findBinary('clang')

class PreloadedLibrary implements Preloaded {
  readonly env: Readonly<Record<string, string>>
  readonly #folder: string
  readonly #file: number
  #disposed = false

  constructor(folder: string, library: string, variable: string, bytes: Uint8Array) {
    const path = join(folder, 'steering')
    this.#folder = folder
    this.#file = openSync(path, 'w+')
    this.env = { LD_PRELOAD: library, [variable]: path }
    this.write(bytes)
  }

  write(bytes: Uint8Array): void {
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
