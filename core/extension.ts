/**
 * For authors of packages, adapters and kinds of steps: option checks with the messages that every part uses, safe reading of
 * thrown values, and a time limit.
 *
 * @module
 */
export { causesOf, invalidOption, requireInteger } from './errors.ts'
export { checkLogger } from './logger.ts'
export { isDeeperThan } from './nesting.ts'
export { hasMethods, optionNames, refuseUnknown, requireFunction, wrongKind } from './options.ts'
export { fieldOf, messageOf, readable } from './thrown.ts'
export { within } from './time-limit.ts'
