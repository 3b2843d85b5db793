/**
 * Everything in one process, durable with a folder: PGlite, the log as the broker, the locks. Provides all that `createService`
 * needs, and requires only `@electric-sql/pglite`.
 *
 *     const shop = createService({ name: 'shop', ...embedded({ dataDir: './data' }), sagas, bindings })
 *
 * For production pass `sql`, `transport` and `locks` instead; handlers and sagas stay unchanged.
 *
 * @module
 */
export { type Embedded, embedded } from './embedded.ts'
export { DataDirectoryError } from './errors.ts'
