/**
 * Tokens in the memory of one process, for tests.
 *
 * @module
 */
export { type MemoryTokensOptions, memoryTokens } from './memory-tokens.ts'
