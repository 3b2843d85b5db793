/**
 * For your tests: a saga's definition on the pure machine, without database, broker or time.
 *
 * @module
 */
export { explore } from './explore.ts'
export { attemptFailed, done, due, expired, given, omitted, operator, refused, signalled, undone } from './story.ts'
