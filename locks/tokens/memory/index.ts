/**
 * Tokens in the memory of one process, for tests.
 *
 * @module
 */
export { memoryTokens } from './memory-tokens.ts'
