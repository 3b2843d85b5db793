/**
 * What a store of locks implements; `createLocks` is built on it. `test/conformance/locks.ts` in the repository holds it.
 *
 * @module
 */
export type { AcquireReply, AcquireRequest, Claim, LockStore, NotHeld } from '../store.ts'
