/**
 * Pipelines: what happens to the messages of a channel, stage by stage, with types through every stage: `from(channel)`, `filter`,
 * `map`, `branch`, windows that count exactly once, and `to(channel)`. `pipeline` makes ordinary bindings of it.
 *
 * @module
 */
export type { PipelinePart, PipelineStage } from '../bindings/pipeline-part.ts'
export { WindowInvalid } from './errors.ts'
export { type Accepting, type BranchWay, type Flow, type FlowEnd, from } from './flow.ts'
export type {
  FlowOptions,
  InboxFlowOptions,
  Window,
  WindowCount,
  WindowFold,
  WindowLimits,
} from './flow-options.ts'
export { migratePipelines, type Pipeline, type PipelineOptions, pipeline } from './pipeline.ts'
