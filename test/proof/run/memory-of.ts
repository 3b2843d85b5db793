/** Memory of a process, and disk space of a folder: from `/proc` where it exists, else from `ps` and `du`. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { descendants } from '../../support/servers/process-tree.ts'

const hasProc = existsSync('/proc/self/status')

/** RSS in bytes; `undefined` after its end. */
export function rssOf(pid: number): number | undefined {
  return hasProc ? partsOf(pid)?.rss : fromPs(pid)
}

/**
 * Memory of a process and all below it. Shared pages (PostgreSQL's buffers) count once, where the system reports them.
 */
export function treeRssOf(pid: number): number | undefined {
  const pids = [pid, ...descendants(pid)]
  if (!hasProc) return sum(pids.map((each) => fromPs(each) ?? 0))
  const shares = pids.map(shareOf).filter((share) => share !== undefined)
  if (shares.length > 0) return sum(shares)
  const parts = pids.map(partsOf).filter((part) => part !== undefined)
  if (parts.length === 0) return undefined
  return sum(parts.map(({ rss, shared }) => rss - shared)) + Math.max(...parts.map(({ shared }) => shared))
}

/** Bytes on disk; `undefined` when they cannot be read now. */
export function diskOf(folder: string): number | undefined {
  // Files come and go while `du` counts: it fails then, but prints its count.
  const { stdout } = spawnSync('du', ['-sk', folder], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  const kilobytes = Number(stdout?.split('\t')[0])
  return kilobytes > 0 ? kilobytes * 1024 : undefined
}

/** Memory with each shared page counted in proportion. */
function shareOf(pid: number): number | undefined {
  try {
    const kilobytes = /^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))?.[1]
    return kilobytes === undefined ? undefined : Number(kilobytes) * 1024
  } catch {
    return undefined
  }
}

function partsOf(pid: number): { readonly rss: number; readonly shared: number } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/status`, 'latin1')
    const bytes = (name: string): number =>
      Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1] ?? 0) * 1024
    return { rss: bytes('VmRSS'), shared: bytes('RssShmem') }
  } catch {
    return undefined
  }
}

function fromPs(pid: number): number | undefined {
  try {
    return Number(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' })) * 1024
  } catch {
    return undefined
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
