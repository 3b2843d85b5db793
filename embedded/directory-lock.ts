/**
 * Lets one process at a time use a folder, named in the file `lock`.
 *
 *   DIR/lock                      process that has the folder, see `lock-holder.ts`; it touches the file every two seconds
 *   DIR/concordat-<id>.sock       shows its kernel that it is alive, see `lock-socket.ts`
 *   DIR/concordat-<digest>.claim  process that may replace a dead lock, see `lock-contest.ts`
 *   DIR/concordat-<id>.tmp        file being written
 *
 * Not guaranteed: a process on another kernel that was stopped until its lock was taken (a paused machine, a hanging file system)
 * may be within a statement, and writes the rest of it when it continues. It begins no other, because `isHeld` precedes each.
 */
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { readdir, readFile, rm, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { type Clock, MINUTE, SECOND } from '../core/clock.ts'
import { hasCode } from '../core/errors.ts'
import { startHeartbeat } from './heartbeat.ts'
import { contend } from './lock-contest.ts'
import { holderOf, ownLock, type ProcessPlace, placeOf } from './lock-holder.ts'
import { openSocket, socketName } from './lock-socket.ts'

/** How long a process relies on its last check of its lock. */
const CHECK_MS = 1 * SECOND
/** Age from which lock files are stale. */
const ABANDONED_MS = 1 * MINUTE

const LOCK = 'lock'
const BESIDE = /^concordat-[0-9a-f-]+\.(?:tmp|sock|claim)$/

/** The folder while this process has it. */
export interface DirectoryLock {
  /** Must be called before every write to the folder. False once another process has it or it was released, permanently. */
  isHeld(): boolean
  /** Gives the lock back, unless another process has it. Never rejects. */
  release(): Promise<void>
}

/** Tells whether a file is a lock that names a process, or belongs to one. */
export async function isOfLock(directory: string, entry: string): Promise<boolean> {
  if (BESIDE.test(entry)) return true
  if (entry !== LOCK) return false
  const text = await readFile(join(directory, LOCK), 'utf8').catch((error: unknown) =>
    hasCode(error, 'ENOENT') ? '0 ' : '',
  )
  return holderOf(text) !== undefined
}

/**
 * Takes the folder: at once when it is free, or when its owner was on this kernel and is dead. If the owner's state cannot be
 * determined, it waits 20 seconds to find out.
 * @param place identity of this process. @default from the system
 * @throws `embedded.in_use`; errors of the file system
 */
export async function lockDirectory(directory: string, clock: Clock, place?: ProcessPlace): Promise<DirectoryLock> {
  const here = place ?? (await placeOf(directory))
  const id = randomUUID()
  const text = await ownLock(here, id)
  const path = join(directory, LOCK)
  // Opened before the lock is written, so that readers of the lock find the socket.
  const closeSocket = await openSocket(directory, id)
  const giveBack = async (): Promise<void> => {
    await unlinkOwn(path, text)
    await closeSocket?.()
  }
  try {
    await contend({ directory, path, text, here, clock })
    const stopHeartbeat = startHeartbeat(path, text)
    return new HeldLock(path, text, clock, () => stopHeartbeat().then(giveBack))
  } catch (error) {
    await giveBack()
    throw error
  }
}

/** For the holder: removes files that killed processes left, but not files being written. */
export async function sweepLeftovers(directory: string): Promise<void> {
  const own = holderOf(await readFile(join(directory, LOCK), 'utf8'))?.id ?? ''
  for (const entry of await readdir(directory)) {
    if (!BESIDE.test(entry) || entry === socketName(own)) continue
    const path = join(directory, entry)
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Date.now() }))
    if (Date.now() - mtimeMs > ABANDONED_MS) await rm(path, { force: true })
  }
}

class HeldLock implements DirectoryLock {
  readonly #path: string
  readonly #text: string
  readonly #clock: Clock
  readonly #end: () => Promise<void>
  #isLost = false
  #released: Promise<void> | undefined
  #checked: { readonly monotonic: number; readonly wall: number }

  constructor(path: string, text: string, clock: Clock, end: () => Promise<void>) {
    this.#path = path
    this.#text = text
    this.#clock = clock
    this.#end = end
    this.#checked = { monotonic: clock.monotonic(), wall: clock.now() }
  }

  isHeld(): boolean {
    if (this.#isLost) return false
    const monotonic = this.#clock.monotonic()
    const wall = this.#clock.now()
    // The monotonic clock may stop with the machine, and the other one may be set back.
    if (Math.max(monotonic - this.#checked.monotonic, wall - this.#checked.wall) < CHECK_MS) return true
    this.#checked = { monotonic, wall }
    this.#isLost = !saysStill(this.#path, this.#text)
    return !this.#isLost
  }

  release(): Promise<void> {
    this.#isLost = true
    return (this.#released ??= this.#end().catch(() => undefined))
  }
}

/** A disk that does not answer says nothing about the lock's owner. */
function saysStill(path: string, text: string): boolean {
  try {
    return readFileSync(path, 'utf8') === text
  } catch (error) {
    return !hasCode(error, 'ENOENT')
  }
}

/** A lock that cannot be removed will soon count as that of a dead process. */
async function unlinkOwn(path: string, text: string): Promise<void> {
  const found = await readFile(path, 'utf8').catch(() => undefined)
  if (found === text) await unlink(path).catch(() => undefined)
}
