import type { Binding } from '../../binder/bindings/declarations.ts'
import type { SystemBinding, SystemPipeline, SystemPipelinePart } from './system.ts'

/** Groups the bindings that run a pipeline. @param read the description of each binding, in the same order */
export function pipelinesOf(bindings: readonly Binding[], read: readonly SystemBinding[]): readonly SystemPipeline[] {
  const pipelines = new Map<string, SystemPipelinePart[]>()
  for (const [n, binding] of bindings.entries()) {
    const part = 'pipeline' in binding ? binding.pipeline : undefined
    if (part === undefined || binding.kind === 'source') continue
    const parts = pipelines.get(part.pipeline) ?? []
    pipelines.set(part.pipeline, parts)
    const { name = '' } = read[n] ?? {}
    if (part.role === 'stages') parts.push({ binding: name, input: binding.input.name, stages: part.stages })
  }
  return [...pipelines].map(([name, parts]) => ({ name, parts }))
}
