import { invalidOption } from '../../core/errors.ts'
import { LockError } from '../errors.ts'

/** Longest key that certainly fits into an index of PostgreSQL. */
const MAX_KEY_BYTES = 1_024

/** @throws `locks.store_refused` for a key that is too long to be stored */
export function requireShort(key: string): void {
  if (Buffer.byteLength(key) <= MAX_KEY_BYTES) return
  throw new LockError(
    'locks.store_refused',
    { store: 'postgres' },
    invalidOption('lock key', key, `at most ${MAX_KEY_BYTES} bytes`),
  )
}
