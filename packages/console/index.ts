/**
 * A page to see and settle everything that needs an operator: mounted in any server, or alone with `npx concordat console`.
 *
 * @module
 */
export type { ConsoleAction, ConsoleAuthorize } from './access.ts'
export { CONSOLE_ACTIONS } from './access.ts'
export { type Console, createConsole } from './console.ts'
export { type OneTimeSession, type OneTimeSessionOptions, oneTimeSession } from './one-time-session.ts'
export type { ConsoleEvent, ConsoleOptions } from './options.ts'
export type { Redact } from './redaction.ts'
