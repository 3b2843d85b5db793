/** Names of the engine that no subpath exports: the bare sides make ids as fast as the engine does. */
// oxlint-disable no-restricted-imports -- the one file of the benches that reaches inside
export { newId } from '../core/ids.ts'
