/**
 * Internals that these tests need and users do not: the lock without a database, and code that no test can reach
 * otherwise.
 */
// oxlint-disable no-restricted-imports -- the one file of these tests that reaches inside
export { type DirectoryLock, lockDirectory } from '../../embedded/directory-lock.ts'
export { LazyDatabase } from '../../embedded/lazy-database.ts'
export { ownLock, type ProcessPlace, placeOf } from '../../embedded/lock-holder.ts'
export { StaleLockWatch } from '../../embedded/stale-lock-watch.ts'
