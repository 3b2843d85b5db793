/**
 * How a starter gets a lock that is free, or whose owner is dead.
 *
 * Each lock has unique content, so a replaced one never returns. A dead lock is therefore replaced under a claim named after its
 * digest: one starter creates it, and the others fail. If the dead lock is still unchanged under the claim, no other starter can
 * replace it; if not, this starter is late and removes the claim. A claim is a lock like any other, so the claim of a starter
 * that died is replaced in the same way.
 */
import { createHash } from 'node:crypto'
import { open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Clock, SECOND } from '../core/clock.ts'
import { hasCode } from '../core/errors.ts'
import { createWhole, writeWhole } from './atomic-file-write.ts'
import { DataDirectoryError } from './errors.ts'
import { type Holder, holderOf, type ProcessPlace, stateOf } from './lock-holder.ts'
import { StaleLockWatch } from './stale-lock-watch.ts'

/** A process that was just stopped may take this long to close its database. */
const WAIT_MS = 5 * SECOND
const PAUSE_MS = 100

export interface Starter {
  readonly directory: string
  /** Path of the lock. */
  readonly path: string
  /** Content of the lock, which must be unique. */
  readonly text: string
  readonly here: ProcessPlace
  readonly clock: Clock
}

/** Resolves when the starter has the lock. @throws `embedded.in_use`; errors of the file system */
export async function contend(starter: Starter): Promise<void> {
  const { directory, path, clock } = starter
  const contest = new Contest(starter)
  const giveUpAt = clock.monotonic() + WAIT_MS
  while (!(await contest.takes(path))) {
    const { user } = contest
    if (user !== undefined && clock.monotonic() > giveUpAt)
      throw new DataDirectoryError('embedded.in_use', { dataDir: directory, pid: user.pid, host: user.host })
    await clock.sleep(PAUSE_MS)
  }
}

interface User {
  /** 0 if its lock does not contain it. */
  readonly pid: number
  readonly host?: string | undefined
}

class Contest {
  readonly #starter: Starter
  readonly #watch: StaleLockWatch
  /** The live owner that was found at the last try. */
  user: User | undefined

  constructor(starter: Starter) {
    this.#starter = starter
    this.#watch = new StaleLockWatch(starter.clock)
  }

  /** @param path of the lock, or of a claim */
  async takes(path: string): Promise<boolean> {
    const { directory, text } = this.#starter
    this.user = undefined
    const found = await read(path)
    if (found === undefined) return createWhole(path, text)
    if (!(await this.#isDead(path, found))) return false
    const claim = join(directory, `concordat-${digestOf(found.text)}.claim`)
    if (!(await this.takes(claim))) return false
    try {
      const still = await read(path)
      if (still?.text !== found.text || still.touchedAt !== found.touchedAt) return false
      await writeWhole(path, text)
      return true
    } finally {
      await rm(claim, { force: true })
    }
  }

  async #isDead(path: string, { text, touchedAt }: Found): Promise<boolean> {
    const { directory, here } = this.#starter
    const holder = holderOf(text)
    let state = await stateOf(holder, directory, here)
    if (state === 'unknown') state = this.#watch.look(path, text, touchedAt)
    if (state === 'alive') this.user = userOf(holder)
    return state === 'dead'
  }
}

interface Found {
  readonly text: string
  /** By the clock of the machine that touched it. */
  readonly touchedAt: number
}

/** Opened again each time, because a network file system contacts its server then. */
async function read(path: string): Promise<Found | undefined> {
  const file = await open(path, 'r').catch((error: unknown) => {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  })
  try {
    return file && { text: await file.readFile('utf8'), touchedAt: (await file.stat()).mtimeMs }
  } finally {
    await file?.close()
  }
}

function userOf(holder: Holder | undefined): User {
  return { pid: holder?.pid ?? 0, host: holder?.place?.host }
}

/** Digest in hexadecimal digits, like an id. */
function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32)
}
