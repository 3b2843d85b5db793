/**
 * Lock of a run's folder: one process at a time works in it. The lock names its process; that of a dead process is
 * taken over.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { codeOf } from '../../faults/harness/errors.ts'
import { UsageError } from '../errors.ts'

export const LOCK = 'run.lock'

/** Start time that distinguishes a process from a later one with the same number. */
export interface Holder {
  readonly pid: number
  readonly began: string
}

/** @returns releases it @throws UsageError while another process has it */
export function lockRun(folder: string): () => void {
  const path = join(folder, LOCK)
  const own = `${path}.${process.pid}`
  const text = JSON.stringify({ pid: process.pid, began: beganOf(process.pid) })
  writeFileSync(own, text)
  try {
    while (!linked(own, path)) {
      const there = readText(path)
      if (there === undefined) continue
      const holder = holderOf(there)
      if (holder !== undefined && holder.began === beganOf(holder.pid)) throw taken(folder, holder)
      remove(path, there)
    }
  } finally {
    rmSync(own, { force: true })
  }
  return () => {
    if (readText(path) === text) rmSync(path, { force: true })
  }
}

/** Never half of it, and only one of several. */
function linked(own: string, path: string): boolean {
  try {
    linkSync(own, path)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw error
  }
}

/** Removes a stale lock; puts it back if another process has taken it over. */
function remove(path: string, stale: string): void {
  const aside = `${path}.stale-${process.pid}`
  try {
    renameSync(path, aside)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return
    throw error
  }
  if (readText(aside) !== stale) linked(aside, path)
  rmSync(aside, { force: true })
}

function taken(folder: string, { pid }: Holder): UsageError {
  return new UsageError(
    '--dir',
    folder,
    `The process ${pid} is at work in it: wait until it has ended, or end it (kill ${pid}), or name another folder.`,
  )
}

function holderOf(text: string): Holder | undefined {
  try {
    const { pid, began } = JSON.parse(text) as Partial<Holder>
    return Number.isSafeInteger(pid) && typeof began === 'string' ? { pid: Number(pid), began } : undefined
  } catch {
    return undefined
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/** `undefined`: there is no such process. From /proc where there is one (a small Debian image has no `ps`), else from `ps`. */
function beganOf(pid: number): string | undefined {
  try {
    if (!existsSync('/proc/self/stat')) {
      return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim()
    }
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // After the name, which stands in parentheses and may hold anything: the state is the first, the start in ticks since the boot the 20th.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (fields[0] === 'Z') return undefined
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()} ${fields[19]}`
  } catch {
    return undefined
  }
}
