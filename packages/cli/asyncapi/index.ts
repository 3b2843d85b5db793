/**
 * Creates AsyncAPI 3 documents from the declarations of services, and compares them.
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
