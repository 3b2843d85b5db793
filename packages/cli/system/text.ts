/** All services as text, for a terminal. */
import { SECOND } from 'concordat/core'
import type { SystemTopology } from 'concordat/operator'
import type { SystemChannel, SystemSaga, SystemService, SystemStep } from '../engine-types.ts'
import { table } from '../text-table.ts'
import { pipelineLines } from './pipelines.ts'

/** Services with their bindings, sagas and roles, then all channels with their users. */
export function systemText({ services, channels }: SystemTopology): string {
  const rows = channels.map((channel) => [
    channel.name,
    channel.role,
    String(channel.partitions),
    channel.senders.join(', ') || '-',
    channel.readers
      .map(({ service, group }) => (group === null ? `${service} (each instance)` : `${service} (${group})`))
      .join(', ') || '-',
    noteOf(channel),
  ])
  const head = ['CHANNEL', 'ROLE', 'PARTITIONS', 'FROM', 'TO (GROUP)', 'NOTE']
  return `${services.map(serviceText).join('\n\n')}\n\n${table(head, rows)}\n`
}

/** Note on a likely mistake. */
function noteOf({ role, readers, senders, otherGroups }: SystemChannel): string {
  if (otherGroups.length > 0 && role === 'channel') return `also for ${otherGroups.join(', ')}`
  if (role !== 'channel') return ''
  return readers.length === 0 ? 'no readers' : senders.length === 0 ? 'no senders' : ''
}

function serviceText({ name, bindings, sends, sagas, pipelines, leads, schedules, cluster }: SystemService): string {
  const rows = bindings.map((binding) => [
    binding.name,
    binding.kind,
    binding.input ?? '-',
    binding.group ?? '-',
    [...binding.outputs, ...(binding.answers === null ? [] : [`${binding.answers}.*`])].join(', ') || '-',
  ])
  const lines = [
    ...(rows.length === 0 ? [] : table(['BINDING', 'KIND', 'READS', 'GROUP', 'SENDS'], rows).split('\n')),
    ...(sends.length === 0 ? [] : [`sends ${sends.join(', ')}`]),
    ...pipelines.flatMap(pipelineLines),
    ...sagas.flatMap(sagaLines),
    ...leads.map((role) => `leads ${role}`),
    ...schedules.map(
      ({ role, jobs }) => `schedule ${role}: ${jobs.map((job) => `${job.name} (${job.when})`).join(', ')}`,
    ),
    ...(cluster === null ? [] : [`member of cluster ${cluster}`]),
  ]
  return [name, ...lines.map((line) => `  ${line}`)].join('\n')
}

function sagaLines({ name, version, deadlineMs, steps }: SystemSaga): readonly string[] {
  const rows = steps.map((step, n) => [placeOf(steps, n), step.name, step.kind, tieOf(step), wordsOf(step)])
  const within = deadlineMs === null ? '' : `, within ${deadlineMs / SECOND} s`
  return [
    `saga ${name} v${version}${within}`,
    ...table(['', 'STEP', 'KIND', 'WITH', ''], rows)
      .split('\n')
      .map((line) => `  ${line}`),
  ]
}

/** Steps that run together have the same number. */
function placeOf(steps: readonly SystemStep[], n: number): string {
  const places = steps.slice(0, n + 1).filter(({ group }, at) => group === null || steps[at - 1]?.group !== group)
  return String(places.length)
}

function tieOf({ to, from, saga }: SystemStep): string {
  if (to !== null) return `to ${to}`
  if (from !== null) return `from ${from}`
  return saga === null ? '-' : `saga ${saga}`
}

function wordsOf({ pivot, compensates, conditional, choices, chooses }: SystemStep): string {
  const words = [
    pivot ? 'point of no return' : compensates ? 'can be undone' : '',
    conditional ? 'if needed' : '',
    chooses === null ? '' : `one of ${chooses.join(', ')}`,
    ...choices.map(({ of, is }) => `if ${of} is ${is}`),
  ]
  return words.filter((word) => word !== '').join(', ')
}
