/** Describes the stages of a pipeline for diagrams. */
import { counted } from '../../core/counted-noun.ts'
import type { PipelineStage } from '../bindings/pipeline-description.ts'
import type { Stage, WindowSpec } from './stage.ts'
import { timersName } from './window-timers.ts'

export function drawn(pipeline: string, stages: readonly Stage[]): readonly PipelineStage[] {
  return stages.map((stage) => Object.freeze({ kind: stage.kind, ...factsOf(pipeline, stage) }))
}

function factsOf(pipeline: string, stage: Stage): Omit<PipelineStage, 'kind'> {
  switch (stage.kind) {
    case 'to':
    case 'through':
      return { label: stage.channel.name, channel: stage.channel.name, ways: [] }
    case 'branch':
      return {
        label: '',
        channel: null,
        ways: stage.ways.map(({ name, stages }) => ({ name, stages: drawn(pipeline, stages) })),
      }
    case 'window':
      return {
        label: labelOf(stage),
        channel: stage.everyMs === undefined ? null : timersName(pipeline, stage.name),
        ways: [],
      }
    default:
      return { label: stage.call.name, channel: null, ways: [] }
  }
}

function labelOf({ name, count, everyMs }: WindowSpec): string {
  const limits = [
    ...(count === undefined ? [] : [counted(count, 'message')]),
    ...(everyMs === undefined ? [] : [`${everyMs} ms`]),
  ]
  return `${name}: ${limits.join(' or ')}`
}
