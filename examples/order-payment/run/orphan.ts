/**
 * Kills this process with SIGKILL when npm is killed. `npm start` runs npm, a shell and this process; kill -9 of npm
 * leaves the other two running, and this process would keep the data directory in use.
 *
 * A worker thread checks, because PGlite blocks the main thread for seconds while it creates a database.
 */
import { readFileSync } from 'node:fs'
import { Worker, workerData } from 'node:worker_threads'

/** Process ids of npm and of the shell that npm started. */
interface Ancestors {
  readonly shell: number
  readonly npm: string
}

const LOOK_EVERY_MS = 50

export function dieWithNpm(): void {
  const npm = parentOf(process.ppid)
  if (process.env['npm_lifecycle_event'] === undefined || npm === undefined) return
  const ancestors: Ancestors = { shell: process.ppid, npm }
  new Worker(new URL(import.meta.url), { workerData: { ancestors } }).unref()
}

const { ancestors } = (workerData ?? {}) as { readonly ancestors?: Ancestors }
if (ancestors !== undefined) {
  setInterval(() => {
    if (process.ppid !== ancestors.shell || parentOf(ancestors.shell) !== ancestors.npm) {
      process.kill(process.pid, 'SIGKILL')
    }
  }, LOOK_EVERY_MS)
}

/** Reads the parent of a process from /proc (Linux). @returns `undefined` on other systems */
function parentOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]
  } catch {
    return undefined
  }
}
