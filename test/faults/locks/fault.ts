import type { StoreFault } from '../store/fault.ts'
import type { LockSettings } from './settings.ts'

/** A fault, with the workers' settings during it. */
export interface LockFault extends StoreFault, Partial<LockSettings> {}

/** Long enough that only a wake-up that arrived is fast. */
export const LONG_HEARTBEAT_MS = 4_000
/** Heartbeat interval for faults that hang connections: a place in the queue is kept for three of these. */
export const SHORT_HEARTBEAT_MS = 300
