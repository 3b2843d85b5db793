/** The picture of all services as a Mermaid flowchart. @see https://mermaid.js.org/syntax/flowchart.html */
import type { SystemSaga, SystemService, SystemStep, SystemTopology } from './system.ts'

/**
 * Services, channels and what flows between them, with a box for each saga and its steps. Without the channels of dead
 * letters, retries and replies.
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

/** The point of no return has a double edge; what only waits is round. */
function shapeOf({ name, waits, pivot }: SystemStep): string {
  const text = `"${escaped(name)}"`
  if (pivot) return `[[${text}]]`
  return waits ? `(${text})` : `[${text}]`
}

/** From each step to those that begin when it is done; steps of one group begin together. */
function orderOf(steps: readonly SystemStep[]): ReadonlyArray<readonly [number, number]> {
  const stages: number[][] = []
  for (const [n, { group }] of steps.entries()) {
    const isSame = group !== null && steps[n - 1]?.group === group
    if (isSame) stages.at(-1)?.push(n)
    else stages.push([n])
  }
  return stages
    .slice(1)
    .flatMap((stage, at) => (stages[at] ?? []).flatMap((from) => stage.map((to) => [from, to] as const)))
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
