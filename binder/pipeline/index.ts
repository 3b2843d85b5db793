/**
 * Pipelines: processing of a channel's messages, stage by stage, with types through every stage: `from(channel)`, `filter`,
 * `map`, `branch`, windows that count exactly once, and `to(channel)`. `pipeline` makes ordinary bindings of it.
 *
 * @module
 */
export { WindowInvalid } from './errors.ts'
export type { FlowEnd } from './flow-builder.ts'
export { type Flow, from } from './flow-builder.ts'
export { migratePipelines, type Pipeline, pipeline } from './pipeline.ts'
