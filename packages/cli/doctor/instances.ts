/**
 * Problems that instances report: handler calls and polls that do not return, blocked event loops, bindings that do not run.
 */

import { shellWord } from 'concordat/extension'
import type { BindingLine, InstanceLine, InstancesView } from '../instances.ts'
import { counted } from '../words.ts'
import { type DoctorLine, duration, ok, warn } from './line.ts'

/** An instance with a hanging handler call or event loop may hold messages for ever. */
const RESTART = 'end that process: its messages go to other instances. Then give its handler a time limit'
const RESTART_SOURCE = 'end that process. Then give its poll a time limit, or its binding a longer slowAfterMs'
const MAX_LINES = 20

export function examineInstances(view: InstancesView): readonly DoctorLine[] {
  const lines = view.instances.flatMap((instance) => linesOf(instance, view.bindings))
  if (lines.length > 0) return lines.slice(0, MAX_LINES)
  return [
    ok('instances', `${counted(view.instances.length, 'instance')}, no handler call hangs, no process is blocked`),
  ]
}

function linesOf(instance: InstanceLine, bindings: readonly BindingLine[]): readonly DoctorLine[] {
  const { address, service, slow, blockedMs, isBlocked, notRunning } = instance
  const look = `npx concordat instances ${shellWord(address)}`
  const lines = slow.map((name) => {
    const line = bindings.find((binding) => binding.service === service && binding.name === name)
    const since = line?.runningForMs === undefined ? '' : ` for ${duration(line.runningForMs)}`
    if (line?.kind === 'source')
      return warn('handlers', `${name}: a poll has been running${since} on ${address}`, `${look}; ${RESTART_SOURCE}`)
    return warn('handlers', `${name}: a handler call has been running${since} on ${address}`, `${look}; ${RESTART}`)
  })
  if (isBlocked)
    lines.push(
      warn(
        'process',
        `${address}: its event loop was blocked for ${duration(blockedMs)} of the last minute`,
        `${look}; a handler computes for long, or the machine is overloaded: node --cpu-prof shows which code`,
      ),
    )
  for (const name of notRunning)
    lines.push(
      warn('bindings', `${name} does not run on ${address}`, `health() of that instance has the reason; ${look}`),
    )
  return lines
}
