/**
 * Signals to a server and to all processes below it. A server is more than one process (PostgreSQL has one for each
 * connection, each in a session of its own), so a signal to its process group would not do.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Stops the root first, so that it starts no process while the others are looked up. Returns when all threads have stopped: on
 * a busy machine they run on for a while, and a server still answers.
 */
export function pauseTree(root: number): readonly number[] {
  send(root, 'SIGSTOP')
  const below = descendants(root)
  for (const pid of below) send(pid, 'SIGSTOP')
  const pids = [root, ...below]
  for (let n = 0; n < STOPPED_WITHIN_MS && pids.some(hasRunningThread); n++) Atomics.wait(PAUSE, 0, 0, 1)
  return pids
}

const PAUSE = new Int32Array(new SharedArrayBuffer(4))
const STOPPED_WITHIN_MS = 2_000

/** False where there is no /proc to ask. */
function hasRunningThread(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).some(
      (thread) => !/[TtZX]/.test(stateIn(`/proc/${pid}/task/${thread}/stat`)),
    )
  } catch {
    return false
  }
}

export function resumeTree(root: number): void {
  for (const pid of [...descendants(root), root]) send(pid, 'SIGCONT')
}

/** SIGKILL for all of them; resolves when the last one has ended. */
export async function killTree(root: number): Promise<void> {
  const pids = pauseTree(root)
  for (const pid of pids) send(pid, 'SIGKILL')
  await untilGone(pids)
}

/** Ends the tree by a signal that its root passes on, and the rest by SIGKILL after `graceMs`. */
export async function endTree(root: number, signal: NodeJS.Signals, graceMs: number): Promise<void> {
  if (signal === 'SIGKILL') return killTree(root)
  const pids = [root, ...descendants(root)]
  resumeTree(root)
  send(root, signal)
  await untilGone(pids, graceMs).catch(() => killTree(root))
}

const GONE_WITHIN_MS = 20_000

async function untilGone(pids: readonly number[], withinMs = GONE_WITHIN_MS): Promise<void> {
  const deadline = performance.now() + withinMs
  while (pids.some(isRunning)) {
    if (performance.now() > deadline) throw new Error(`still there after ${withinMs} ms: processes ${pids.join(', ')}`)
    await sleep(5)
  }
}

export function descendants(root: number): readonly number[] {
  const children = new Map<number, number[]>()
  for (const { pid, parent } of processes()) children.set(parent, [...(children.get(parent) ?? []), pid])
  const found: number[] = []
  const queue = [root]
  for (let pid = queue.shift(); pid !== undefined; pid = queue.shift()) {
    const below = children.get(pid) ?? []
    found.push(...below)
    queue.push(...below)
  }
  return found
}

interface ProcessEntry {
  readonly pid: number
  readonly parent: number
}

/** All processes: from /proc where it exists (a small Debian image has no `ps`), otherwise from `ps`. */
function processes(): readonly ProcessEntry[] {
  if (existsSync('/proc/self/stat')) {
    const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
    return pids.flatMap((name) => {
      const stat = readStat(Number(name))
      return stat === undefined ? [] : [{ pid: Number(name), parent: stat.parent }]
    })
  }
  const lines = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' }).trim().split('\n')
  return lines.map((line) => {
    const [pid, parent] = line.trim().split(/\s+/).map(Number)
    return { pid: pid ?? 0, parent: parent ?? 0 }
  })
}

/** A zombie does not run, and in a container without an init it stays forever. */
function isRunning(pid: number): boolean {
  if (existsSync('/proc/self/stat')) return (readStat(pid)?.state ?? 'Z') !== 'Z'
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

function stateIn(file: string): string {
  return fieldsOf(file)[0] ?? 'Z'
}

/** The fields after the name, which stands in parentheses and may hold anything. */
function fieldsOf(file: string): readonly string[] {
  const text = readFileSync(file, 'latin1')
  return text.slice(text.lastIndexOf(')') + 2).split(' ')
}

function readStat(pid: number): { readonly state: string; readonly parent: number } | undefined {
  try {
    const [state = 'Z', parent] = fieldsOf(`/proc/${pid}/stat`)
    return { state, parent: Number(parent) }
  } catch {
    return undefined
  }
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // The process has ended by itself, which is the purpose of every signal except SIGSTOP and SIGCONT.
  }
}
