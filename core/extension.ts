/**
 * For authors of packages, adapters and kinds of steps: option checks with the messages that every part uses, safe reading of
 * thrown values, text without secrets, a time limit, transactions and statements of SQL clients, and hooks for simulated time and
 * randomness.
 *
 * @module
 */
export { causesOf, invalidOption, requireInteger, requireText, toError } from './errors.ts'
export { restartIds } from './ids.ts'
export { checkLogger } from './logger.ts'
export { isDeeperThan } from './nesting.ts'
export { hasMethods, optionNames, refuseUnknown, requireFunction, requireList, wrongKind } from './options.ts'
export { printable, withoutSecrets } from './printable.ts'
export { randomId } from './random-id.ts'
export { DEFAULT_SCHEMA, ownQuery, quoteLiteral } from './sql.ts'
export { fieldOf, messageOf, readable } from './thrown.ts'
export { within } from './time-limit.ts'
export { TransactionScope } from './transaction-scope.ts'
export { virtualTimeIn } from './turns.ts'
