/** `instances`: the state of every instance of every service, as reported over the bus. */

import { setTimeout as sleep } from 'node:timers/promises'
import { SECOND } from 'concordat/core'
import { duration } from '../doctor/line.ts'
import type { BindingLine, InstanceLine, InstancesView, InstanceWatch } from '../instances.ts'
import { counted } from '../words.ts'
import { BUS_PLACE, placeOf, UNHEARD } from './bus.ts'
import { type Command, type Invocation, type Outcome, WATCH_OPTION } from './command.ts'
import { table } from './output.ts'
import { durationMs, flag, none } from './values.ts'

const LISTEN_MS = 4 * SECOND
const EVERY_MS = 2 * SECOND

const instances: Command = {
  name: 'instances',
  summary: 'shows what every instance of every service does: rate, failures, lag, breakers',
  takes: '[PATTERN]',
  options: { ...BUS_PLACE, ...WATCH_OPTION },
  examples: ['npx concordat instances', "npx concordat instances 'shop:**' --json"],
  run: show,
}

export const INSTANCE_COMMANDS: readonly Command[] = [instances]

async function show(invocation: Invocation): Promise<Outcome> {
  const { values, positionals, print, stop } = invocation
  const [to, ...rest] = positionals
  none(rest)
  const { bus } = await invocation.operator({ bus: placeOf(values) })
  const watched = await bus.watch({ to, everyMs: flag(values, 'watch') ? EVERY_MS : 1 * SECOND })
  try {
    const listen = durationMs(values, 'listen') ?? LISTEN_MS
    await pause(listen, stop)
    while (flag(values, 'watch') && !stop.aborted) {
      const { text, json } = outcomeOf(watched)
      await print(flag(values, 'json') ? `${JSON.stringify(json)}\n` : text)
      await pause(EVERY_MS, stop)
    }
    return flag(values, 'watch') ? { text: '', json: undefined } : outcomeOf(watched)
  } finally {
    await watched.close()
  }
}

function outcomeOf(watched: InstanceWatch): Outcome {
  const view = watched.view()
  const trouble = watched.trouble()
  const unheard = view.instances.length === 0 ? UNHEARD : undefined
  const problem = trouble === undefined ? unheard : `The bus is not reached now: ${trouble}`
  if (problem === undefined) return { text: tables(view), json: view }
  return { text: `${tables(view)}${problem}\n`, json: { ...view, problem }, code: 1 }
}

function pause(ms: number, stop: AbortSignal): Promise<void> {
  return sleep(ms, undefined, { signal: stop }).catch(() => undefined)
}

function tables({ instances: all, bindings, leftOut }: InstancesView): string {
  if (all.length === 0) return ''
  const parts = [table(HEAD, all.map(cells))]
  if (bindings.length > 0) parts.push(table(BINDING_HEAD, bindings.map(bindingCells)))
  if (leftOut > 0)
    parts.push(`${counted(leftOut, 'more is', 'more are')} not shown: give a PATTERN such as 'orders:**'`)
  return `${parts.join('\n\n')}\n`
}

const HEAD = ['INSTANCE', 'STATE', 'RATE', 'FAILED', 'IN HAND', 'CPU', 'MEMORY', 'RUNS FOR']

function cells(line: InstanceLine): readonly string[] {
  const {
    address,
    notRunning,
    openCircuits,
    slow,
    blockedMs,
    isBlocked,
    handledPerSecond,
    failedPerSecond,
    running,
    queued,
  } = line
  const state = [
    notRunning.length === 0 ? 'running' : `not running: ${notRunning.join(', ')}`,
    openCircuits === 0 ? [] : `${counted(openCircuits, 'breaker')} open`,
    slow.length === 0 ? [] : `a handler call hangs: ${slow.join(', ')}`,
    !isBlocked ? [] : `blocked for ${duration(blockedMs)} of the last minute`,
  ].flat()
  return [
    address,
    state.join('; '),
    `${handledPerSecond}/s`,
    `${failedPerSecond}/s`,
    `${running}+${queued}`,
    `${Math.round(100 * line.cpu)} %`,
    `${Math.round(line.memoryBytes / 1_048_576)} MiB`,
    duration(line.uptimeMs),
  ]
}

const BINDING_HEAD = [
  'SERVICE',
  'BINDING',
  'STATES',
  'RATE',
  'FAILED',
  'RETRIED',
  'LAG',
  'IN HAND',
  'OLDEST CALL',
  'BREAKERS',
]

function bindingCells(line: BindingLine): readonly string[] {
  const { service, name, states, circuits, handledPerSecond, failedPerSecond, retried, lag, running, queued } = line
  const { runningForMs } = line
  return [
    service,
    name,
    tally(states),
    `${handledPerSecond}/s`,
    `${failedPerSecond}/s`,
    String(retried),
    lag === undefined ? '-' : String(lag),
    `${running}+${queued}`,
    runningForMs === undefined ? '-' : duration(runningForMs),
    tally(circuits) || '-',
  ]
}

function tally(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([name, n]) => `${n} ${name}`)
    .join(', ')
}
