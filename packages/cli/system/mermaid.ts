/** All services as a Mermaid flowchart. @see https://mermaid.js.org/syntax/flowchart.html */

import type { SystemTopology } from 'concordat/operator'
import type { SystemSaga, SystemService, SystemStep } from '../engine-types.ts'
import { pipelineMermaid } from './pipelines.ts'

/**
 * Services, channels and the messages between them, with a box for each saga and its steps. Omits the channels of dead letters,
 * retries and replies.
 */
export function systemMermaid({ services, channels }: SystemTopology): string {
  const shown = channels.filter(({ role }) => role === 'channel')
  const channelIds = new Map(shown.map(({ name }, n) => [name, `c${n}`]))
  const serviceIds = new Map(services.map(({ name }, n) => [name, `s${n}`]))
  const idOf = (service: string): string => serviceIds.get(service) as string
  const lines = [
    ...services.map((service, n) => `s${n}["${labelOf(service)}"]`),
    ...shown.map(({ name }, n) => `c${n}[("${escaped(name)}")]`),
    ...shown.flatMap(({ senders, readers }, n) => [
      ...senders.map((sender) => `${idOf(sender)} --> c${n}`),
      ...readers.map(({ service, group }) => `c${n} -->|"${escaped(group ?? 'each instance')}"| ${idOf(service)}`),
    ]),
    ...services.flatMap(({ pipelines }, n) =>
      pipelines.flatMap((pipeline, k) => [
        ...pipelineMermaid(pipeline, `s${n}p${k}`, channelIds, escaped),
        `s${n} -.- s${n}p${k}`,
      ]),
    ),
    ...services.flatMap(({ sagas }, n) =>
      sagas.flatMap((saga, k) => sagaLines(saga, `s${n}`, `s${n}g${k}`, channelIds)),
    ),
  ]
  return `flowchart LR\n${lines.map((line) => `  ${line}`).join('\n')}\n`
}

function labelOf({ name, leads, schedules }: SystemService): string {
  const roles = [...leads, ...schedules.map(({ role }) => role)].map((role) => `<br>leads ${escaped(role)}`)
  return `${escaped(name)}${roles.join('')}`
}

function sagaLines(
  { name, version, steps }: SystemSaga,
  service: string,
  id: string,
  channels: ReadonlyMap<string, string>,
): readonly string[] {
  const stepId = (n: number): string => `${id}t${n}`
  return [
    `subgraph ${id}["saga ${escaped(name)} v${version}"]`,
    ...steps.map((step, n) => `  ${stepId(n)}${shapeOf(step)}`),
    ...orderOf(steps).map(([from, to]) => `  ${stepId(from)} --> ${stepId(to)}`),
    'end',
    `${service} -.- ${id}`,
    ...steps.flatMap(({ to, from }, n) => [
      ...(to !== null && channels.has(to) ? [`${stepId(n)} -.->|"command"| ${channels.get(to)}`] : []),
      ...(from !== null && channels.has(from) ? [`${channels.get(from)} -.->|"signal"| ${stepId(n)}`] : []),
    ]),
  ]
}

/** The pivot has a double edge; a step that only waits is round, a choice a diamond, a step per item a stack. */
function shapeOf({ name, waits, pivot, chooses, kind }: SystemStep): string {
  const text = `"${escaped(name)}"`
  if (pivot) return `[[${text}]]`
  if (chooses !== null) return `{${text}}`
  if (kind === EACH) return `@{ shape: procs, label: ${text} }`
  return waits ? `(${text})` : `[${text}]`
}

const EACH = 'each'

type Edge = readonly [from: number, to: number]

/**
 * Arrows from each step to those that begin when it is done; the steps of a group begin together, and one branch of a choice
 * runs.
 */
function orderOf(steps: readonly SystemStep[]): readonly Edge[] {
  const edges: Edge[] = []
  flow(steps, 0, steps.length, 0, [], edges)
  return edges
}

/**
 * Draws the steps from `begin` to `end`, which are nested in `depth` choices. @returns the last ones, after which the flow
 * continues
 */
function flow(
  steps: readonly SystemStep[],
  begin: number,
  end: number,
  depth: number,
  before: readonly number[],
  edges: Edge[],
): readonly number[] {
  let exits = before
  for (let n = begin; n < end; ) {
    const next = stageEnd(steps, n, end, depth)
    const { choices } = steps[n] as SystemStep
    if (choices.length > depth) exits = branches(steps, n, next, depth, exits, edges)
    else {
      const stage = Array.from({ length: next - n }, (_, at) => n + at)
      edges.push(...exits.flatMap((from) => stage.map((to): Edge => [from, to])))
      exits = stage
    }
    n = next
  }
  return exits
}

/** The end of the part drawn together with step `n`: its group, or all branches of its choice. */
function stageEnd(steps: readonly SystemStep[], n: number, end: number, depth: number): number {
  const { choices, group } = steps[n] as SystemStep
  const of = choices[depth]?.of
  let next = n + 1
  while (next < end) {
    const step = steps[next] as SystemStep
    const isSame = of === undefined ? group !== null && step.group === group : step.choices[depth]?.of === of
    if (!isSame) break
    next++
  }
  return next
}

function branches(
  steps: readonly SystemStep[],
  begin: number,
  end: number,
  depth: number,
  before: readonly number[],
  edges: Edge[],
): readonly number[] {
  const exits: number[] = []
  const drawn = new Set<string>()
  for (let n = begin; n < end; ) {
    const is = steps[n]?.choices[depth]?.is as string
    let next = n + 1
    while (next < end && steps[next]?.choices[depth]?.is === is) next++
    drawn.add(is)
    exits.push(...flow(steps, n, next, depth + 1, before, edges))
    n = next
  }
  const chooser = steps.find(({ name }) => name === steps[begin]?.choices[depth]?.of)
  const isComplete = chooser?.chooses?.every((branch) => drawn.has(branch)) === true
  return isComplete ? exits : [...exits, ...before]
}

/** Mermaid reads entities, without the ampersand. */
function escaped(text: string): string {
  return text
    .replaceAll('#', '#35;')
    .replaceAll('"', '#quot;')
    .replaceAll('<', '#lt;')
    .replaceAll('>', '#gt;')
    .replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, ' ')
}
