import type { StoreFault } from '../store/fault.ts'
import type { LockSettings } from './settings.ts'

/** A fault, and how the workers use the lock meanwhile. */
export interface LockFault extends StoreFault, Partial<LockSettings> {}

/** Long enough that only a wake-up that arrived is fast. */
export const LONG_HEARTBEAT_MS = 4_000
/** Where connections hang, a place in the line is kept for three of these. */
export const SHORT_HEARTBEAT_MS = 300
