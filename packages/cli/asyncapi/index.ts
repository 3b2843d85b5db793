/**
 * AsyncAPI 3 documents out of what services declare, and what a change of one means to readers.
 *
 * @module
 */
export { asyncapi } from './asyncapi.ts'
export { type AsyncapiChange, type AsyncapiDiff, asyncapiDiff } from './diff.ts'
export type {
  AsyncapiDocument,
  AsyncapiInfo,
  JsonObject,
} from './document-types.ts'
export type { AsyncapiOptions } from './options.ts'
