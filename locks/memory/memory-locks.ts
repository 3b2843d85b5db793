import { optionNames, refuseUnknown } from '../../core/option-checks.ts'
import { locksInProcess } from '../create-locks.ts'
import type { Locks } from '../lock.ts'
import { LOCKS_NAMES, type LocksOptions, resolveLocks } from '../options.ts'
import { MemoryLockServer } from './server.ts'
import { MemoryLockStore } from './store.ts'

export interface MemoryLocksOptions extends LocksOptions {
  /** Server shared with contenders. @default a new one, without contenders */
  readonly server?: MemoryLockServer | undefined
}

const NAMES = optionNames<MemoryLocksOptions>({ ...LOCKS_NAMES, server: true })
const SERVER_NAMES = optionNames<Pick<LocksOptions, 'clock'>>({ clock: true })

/** Creates a server shared by several `memoryLocks`. Uses only memory and needs no close. */
export function memoryLockServer(options: Pick<LocksOptions, 'clock'> = {}): MemoryLockServer {
  refuseUnknown('memoryLockServer', options, SERVER_NAMES)
  return new MemoryLockServer(resolveLocks(options).clock)
}

/** @throws TypeError / RangeError with the name of the option */
export function memoryLocks(options: MemoryLocksOptions = {}): Locks {
  refuseUnknown('memoryLocks', options, NAMES)
  return locksInProcess(new MemoryLockStore(options.server ?? memoryLockServer({ clock: options.clock })), options)
}
