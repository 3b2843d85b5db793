import { BINDER } from './binder.ts'
import type { Defect } from './defect.ts'
import { LOCKS_BUS } from './locks-bus.ts'
import { SAGA_OUTBOX } from './saga-outbox.ts'

/** All forty-one, by the review that found each and its number there. */
export const DEFECTS: Readonly<Record<string, Defect>> = { ...SAGA_OUTBOX, ...LOCKS_BUS, ...BINDER }
