/** Pipelines as text and Mermaid. */
import type { PipelineStage, SystemService } from '../engine-types.ts'

type SystemPipeline = SystemService['pipelines'][number]

/** A line for each part, a line for each way of a branch. */
export function pipelineLines({ name, parts }: SystemPipeline): readonly string[] {
  return [
    `pipeline ${name}`,
    ...parts.flatMap(({ input, stages }) => stageLines(`from ${input}`, stages).map((line) => `  ${line}`)),
  ]
}

function stageLines(head: string, stages: readonly PipelineStage[]): readonly string[] {
  const branch = stages.findIndex(({ ways }) => ways.length > 0)
  const line = [head, ...(branch === -1 ? stages : stages.slice(0, branch + 1)).map(stageWords)].join(' > ')
  if (branch === -1) return [line]
  const { ways } = stages[branch] as PipelineStage
  const behind = stages.slice(branch + 1)
  return [
    line,
    ...ways.flatMap((way) => stageLines(`- ${way.name}`, way.stages).map((each) => `  ${each}`)),
    ...(behind.length === 0 ? [] : stageLines('then', behind)),
  ]
}

/** `map toLine`, `window per-sku: 10 messages`. */
export function stageWords({ kind, label }: PipelineStage): string {
  return label === '' ? kind : `${kind} ${label}`
}

interface Drawing {
  readonly id: string
  readonly channels: ReadonlyMap<string, string>
  readonly escaped: (text: string) => string
  readonly nodes: string[]
  readonly edges: string[]
}

/** A box with the stages of each part, joined to the channels. */
export function pipelineMermaid(
  { name, parts }: SystemPipeline,
  id: string,
  channels: ReadonlyMap<string, string>,
  escaped: (text: string) => string,
): readonly string[] {
  const drawing: Drawing = { id, channels, escaped, nodes: [], edges: [] }
  for (const { input, stages } of parts) drawStages(drawing, stages, [{ from: channels.get(input), label: '' }])
  return [
    `subgraph ${id}["pipeline ${escaped(name)}"]`,
    ...drawing.nodes.map((node) => `  ${node}`),
    'end',
    ...drawing.edges,
  ]
}

/** Start of an arrow. */
interface Exit {
  readonly from: string | undefined
  readonly label: string
}

/**
 * @returns where the flow continues
 */
function drawStages(drawing: Drawing, stages: readonly PipelineStage[], before: readonly Exit[]): readonly Exit[] {
  let exits = before
  for (const stage of stages) {
    if (stage.kind === 'to' || stage.kind === 'through') {
      join(drawing, exits, drawing.channels.get(stage.channel ?? ''))
      return []
    }
    const node = `${drawing.id}t${drawing.nodes.length}`
    const text = `"${drawing.escaped(stageWords(stage))}"`
    drawing.nodes.push(
      `${node}${stage.kind === 'branch' ? `{${text}}` : stage.kind === 'window' ? `[/${text}/]` : `[${text}]`}`,
    )
    join(drawing, exits, node)
    exits =
      stage.kind === 'branch'
        ? stage.ways.flatMap((way) => drawStages(drawing, way.stages, [{ from: node, label: way.name }]))
        : [{ from: node, label: '' }]
  }
  return exits
}

function join({ edges, escaped }: Drawing, exits: readonly Exit[], to: string | undefined): void {
  for (const { from, label } of exits) {
    if (from === undefined || to === undefined) continue
    edges.push(label === '' ? `${from} --> ${to}` : `${from} -->|"${escaped(label)}"| ${to}`)
  }
}
