/**
 * `npm start` is npm, a shell and this process, and kill -9 of npm leaves the other two running: the data would stay in
 * use by a process nobody sees. So whoever kills npm kills this one too, as hard.
 *
 * A thread of its own looks after it, because PGlite holds the main one for seconds when it makes a database.
 */
import { readFileSync } from 'node:fs'
import { Worker, workerData } from 'node:worker_threads'

/** The shell that npm started, and npm. */
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

/** Where the system tells (Linux). */
function parentOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]
  } catch {
    return undefined
  }
}
