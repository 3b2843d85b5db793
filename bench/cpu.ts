import { readdirSync, readFileSync } from 'node:fs'

/** Unit of the kernel's counters, the same on all machines. */
const TICK_US = 10_000

/** CPU time of a process and all below it, ended ones included, in us. NaN where there is no /proc. */
export function cpuUsOfTree(root: number): number {
  const processes = readProcesses()
  if (processes.length === 0) return Number.NaN
  let ticks = 0
  const queue = [root]
  for (let pid = queue.shift(); pid !== undefined; pid = queue.shift()) {
    for (const one of processes) {
      if (one.pid === pid) ticks += one.ticks
      if (one.parent === pid) queue.push(one.pid)
    }
  }
  return ticks * TICK_US
}

/** CPU time of all children of this process that have ended, with theirs, in us. NaN where there is no /proc. */
export function cpuUsOfEndedChildren(): number {
  try {
    const text = readFileSync('/proc/self/stat', 'latin1')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[13]) + Number(fields[14])) * TICK_US
  } catch {
    return Number.NaN
  }
}

/** Memory of a process that is in RAM, in MB; NaN where there is no /proc. */
export function rssMb(pid: number): number {
  try {
    const [, kb] = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
    return Number(kb) / 1_000
  } catch {
    return Number.NaN
  }
}

interface Used {
  readonly pid: number
  readonly parent: number
  /** CPU ticks of the process and of its reaped children. */
  readonly ticks: number
}

function readProcesses(): readonly Used[] {
  try {
    const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
    return pids.flatMap((name) => readUsed(Number(name)) ?? [])
  } catch {
    return []
  }
}

/** The fields after the name, which stands in parentheses and may hold anything. */
function readUsed(pid: number): Used | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    const ticks = [11, 12, 13, 14].reduce((sum, field) => sum + Number(fields[field]), 0)
    return { pid, parent: Number(fields[1]), ticks }
  } catch {
    return undefined
  }
}
