/**
 * The owner of a folder according to its lock, and whether that process is alive, as far as this process can know.
 *
 * A process id counts within its pid namespace only: every container has a process 1. So a lock names the kernel's boot and the namespace
 * beside the process. A reader
 *
 *   in the same namespace          looks the process up: it is alive or dead
 *   elsewhere on the same kernel   asks the owner's socket, see `lock-socket.ts`: likewise
 *   on another kernel              cannot know, and watches whether the owner touches its lock, see `heartbeat.ts`
 *
 * The host name decides nothing. A restarted machine has the same name and another boot, and so does a second machine with a pod of
 * that name.
 */
import { readFile, readlink, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { hasCode } from '../core/errors.ts'
import { askSocket } from './lock-socket.ts'

/** Place of a process, and its view of the folder. A part that the system does not provide is `-`. */
export interface ProcessPlace {
  readonly host: string
  /** Boot id of the kernel, new after each start of the machine. */
  readonly boot: string
  readonly pidNamespace: string
  /** Two mounts of one folder may be two devices, and a socket is found only on its own. */
  readonly device: string
}

export interface Holder {
  readonly pid: number
  /**
   * Start time in ticks since the boot; distinguishes a process from a later one with its id. Empty if the system does not
   * provide it.
   */
  readonly started: string
  /** Undefined in the lock of a version that did not write it. */
  readonly place: ProcessPlace | undefined
  /** Id of this lock and of its socket. */
  readonly id: string | undefined
}

const UNTOLD = '-'
const LOCK = /^(\d+) (\d*)(?: ([!-~]+) ([!-~]+) ([!-~]+) ([!-~]+) ([0-9a-f-]{36}))?$/

/** Content for a lock of this process. */
export async function ownLock(place: ProcessPlace, id: string): Promise<string> {
  const { started = '' } = (await processOf(process.pid)) ?? {}
  return [process.pid, started, place.host, place.boot, place.pidNamespace, place.device, id].join(' ')
}

/** Undefined: it is not a lock of ours, or a power failure has left it empty. */
export function holderOf(text: string): Holder | undefined {
  const match = LOCK.exec(text)
  if (match === null) return undefined
  const [, pid, started = '', host, boot, pidNamespace, device, id] = match
  const isPlaced = host !== undefined && boot !== undefined && pidNamespace !== undefined && device !== undefined
  return { pid: Number(pid), started, place: isPlaced ? { host, boot, pidNamespace, device } : undefined, id }
}

export async function placeOf(directory: string): Promise<ProcessPlace> {
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => UNTOLD)
  const { dev } = await stat(directory)
  return {
    host: encodeURIComponent(hostname()) || UNTOLD,
    boot: boot.trim(),
    pidNamespace: await ownNamespace(),
    device: String(dev),
  }
}

/** Tells whether the owner is alive. `unknown`: this process cannot tell. */
export async function stateOf(
  holder: Holder | undefined,
  directory: string,
  here: ProcessPlace,
): Promise<'alive' | 'dead' | 'unknown'> {
  if (holder === undefined) return 'unknown'
  const { place, id } = holder
  // A lock of an earlier version does not name its place: a process that is not here may live elsewhere.
  if (place === undefined || id === undefined) return (await isRunning(holder)) === true ? 'alive' : 'unknown'
  if (isSameNamespace(place, here)) {
    const running = await isRunning(holder)
    if (running !== undefined) return running ? 'alive' : 'dead'
  }
  const answer = await askSocket(directory, id)
  if (answer === 'refused') return isSameKernel(place, here) && place.device === here.device ? 'dead' : 'unknown'
  return answer === 'taken' ? 'alive' : 'unknown'
}

function isSameKernel(one: ProcessPlace, other: ProcessPlace): boolean {
  return one.boot === other.boot && one.boot !== UNTOLD
}

function isSameNamespace(one: ProcessPlace, other: ProcessPlace): boolean {
  if (one.host !== other.host || one.boot !== other.boot || one.pidNamespace !== other.pidNamespace) return false
  // Other systems do not provide it, and have no namespaces.
  return process.platform !== 'linux' || (isSameKernel(one, other) && one.pidNamespace !== UNTOLD)
}

/** A `/proc` of another namespace, which remains after `unshare --pid` alone, shows other processes. */
async function ownNamespace(): Promise<string> {
  try {
    const isOurs = (await readlink('/proc/self')) === String(process.pid)
    return isOurs ? await readlink('/proc/self/ns/pid') : UNTOLD
  } catch {
    return UNTOLD
  }
}

/** Undefined: there is a process with this id, but the system does not say which one. */
async function isRunning({ pid, started }: Holder): Promise<boolean | undefined> {
  if (!isThere(pid)) return false
  const found = await processOf(pid)
  if (found === undefined) return started === '' ? true : undefined
  return found.started === started && !found.hasEnded
}

function isThere(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return hasCode(error, 'EPERM')
  }
}

interface ProcessEntry {
  readonly started: string
  /** The process is a zombie: its parent has not read the exit code yet, and no other thread of it is left. */
  readonly hasEnded: boolean
}

/** Reads Linux's entry for a process. The fields follow the name, which is in parentheses and may contain anything. */
async function processOf(pid: number): Promise<ProcessEntry | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const { 0: state = '', 17: threads, 19: started = '' } = fields
  return { started, hasEnded: state === 'X' || (state === 'Z' && Number(threads) <= 1) }
}
