/** Processes that have the lock of a folder; some are process 1 of a pid namespace of their own, as in containers on one kernel. */
import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import { descendants, killTree } from '../../support/servers/process-tree.ts'
import { until } from '../../support/until.ts'

const IN_CONTAINER = ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child']

export const hasContainers: boolean = succeeds([...IN_CONTAINER, 'true'])

export interface Holder {
  /** First line of output. */
  readonly said: string
  /** Id of the process itself. */
  readonly pid: number
  /** Kills the process and its starter with SIGKILL. */
  kill(): Promise<void>
}

const FILE = fileURLToPath(new URL('holder.ts', import.meta.url))
const COMMAND = [process.execPath, '--conditions', 'concordat-source', FILE]

/** Starts a process that takes the lock of `directory` or is refused, and returns its report. */
export function startHolder(directory: string, mode = ''): Promise<Holder> {
  return started([...COMMAND, directory, mode])
}

export function startInContainer(directory: string): Promise<Holder> {
  return started([...IN_CONTAINER, ...COMMAND, directory])
}

/** Starts a holder whose parent never waits for its exit. */
export function startUnderNeglect(directory: string): Promise<Holder> {
  const quoted = [...COMMAND, directory].map((part) => `'${part}'`).join(' ')
  return started(['sh', '-c', `exec 3<&0; ${quoted} <&3 & exec sleep 600`])
}

function succeeds([command = '', ...args]: readonly string[]): boolean {
  return spawnSync(command, args).status === 0
}

async function started([command = '', ...args]: readonly string[]): Promise<Holder> {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const root = pidOf(child)
  onTestFinished(() => killTree(root))
  const [data] = (await once(child.stdout, 'data')) as [Buffer]
  const pid = descendants(root).at(-1) ?? root
  const kill = async (): Promise<void> => {
    await killTree(root)
    await untilEnded(pid)
  }
  return { said: data.toString(), pid, kill }
}

/** Waits until the process has ended; it may be a zombie without threads. */
export function untilEnded(pid: number): Promise<void> {
  return until('the process has ended', () => isEnded(pid))
}

function isEnded(pid: number): boolean {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    return /^State:\tZ/m.test(status) && /^Threads:\t1$/m.test(status)
  } catch {
    return true
  }
}

function pidOf(child: ChildProcessByStdio<Writable, Readable, null>): number {
  if (child.pid === undefined) throw new Error(`cannot start ${child.spawnfile}`)
  return child.pid
}
