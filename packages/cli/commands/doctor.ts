/** `doctor`: lists problems and their remedies. */

import type { DeadLetterPlace } from '../dead-letter-types.ts'
import type { DoctorLine } from '../doctor/line.ts'
import type { InstancesView } from '../instances.ts'
import type { Operator } from '../operator.ts'
import { BUS_PLACE, placeOf } from './bus.ts'
import { type Command, RESOURCE_OPTIONS, UsageError, WATCH_OPTION } from './command.ts'
import { declarationsOf, instancesOn, knownPlaces } from './group-arguments.ts'
import { printable } from './output.ts'
import { MODULE } from './read-declarations.ts'
import { durationMs, none } from './values.ts'

const CODES: Readonly<Record<DoctorLine['status'], number>> = { ok: 0, unknown: 1, warn: 1, fail: 2 }

const doctor: Command = {
  name: 'doctor',
  summary:
    'looks at everything and says what to do; exit code 0 all is well, 1 warnings or something unknown, 2 faults',
  takes: `[${MODULE}]`,
  options: {
    ...BUS_PLACE,
    listen: { type: 'string', hint: 'TIME', about: 'how long instances on the bus are listened to (default: 3s)' },
    ...RESOURCE_OPTIONS,
    ...WATCH_OPTION,
  },
  examples: ['npx concordat doctor', 'npx concordat doctor --json'],
  async run({ values, positionals, operator }) {
    const [module, ...rest] = positionals
    none(rest)
    const opened = await operator({ bus: placeOf(values), module })
    // Reports an unreadable module before waiting for any server.
    await declarationsOf(module)
    const instances = await instancesOn(opened, durationMs(values, 'listen'))
    const report = await opened.doctor({ places: await placesFor(opened, module, instances), instances })
    const width = Math.max(4, ...report.lines.map(({ status }) => status.length))
    const text = report.lines.map((line) => show(line, width)).join('\n')
    return { text: `${text}\n`, json: report, code: CODES[report.status] }
  },
}

export const DOCTOR_COMMANDS: readonly Command[] = [doctor]

/** A database that does not answer is a line of the report, whatever else was requested. */
async function placesFor(
  operator: Operator,
  module: string | undefined,
  instances: InstancesView | undefined,
): Promise<readonly DeadLetterPlace[]> {
  try {
    return await knownPlaces(operator, module, instances)
  } catch (error) {
    if (error instanceof UsageError) throw error
    return []
  }
}

/** @param width of the first column */
function show({ check, status, text, remedy }: DoctorLine, width: number): string {
  const line = `${status.padEnd(width)}  ${check.padEnd(10)}  ${printable(text)}`
  return remedy === undefined ? line : `${line}\n${' '.repeat(width + 14)}-> ${printable(remedy)}`
}
