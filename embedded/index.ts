/**
 * Everything in one process, durable with a folder: PGlite, the log as the broker, the locks. What `createService` needs,
 * with nothing to install but `@electric-sql/pglite`.
 *
 *     const shop = createService({ name: 'shop', ...embedded({ dataDir: './data' }), sagas, bindings })
 *
 * Going to production is giving `sql`, `transport` and `locks` instead; handlers and sagas stay.
 *
 * @module
 */
export { type Embedded, embedded } from './embedded.ts'
export { DataDirectoryError } from './errors.ts'
