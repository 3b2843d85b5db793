/** `doctor`: what is wrong, and what to do. */
import type { DoctorLine } from '../doctor/line.ts'
import { type Command, DATABASE_OPTIONS, RESOURCE_OPTIONS, WATCH_OPTION } from './command.ts'
import { printable } from './output.ts'
import { none } from './values.ts'

const CODES: Readonly<Record<DoctorLine['status'], number>> = { ok: 0, warn: 1, fail: 2 }

const doctor: Command = {
  name: 'doctor',
  summary: 'looks at everything and says what to do; exit code 0 all is well, 1 warnings, 2 faults',
  options: { ...DATABASE_OPTIONS, ...RESOURCE_OPTIONS, ...WATCH_OPTION },
  examples: ['npx concordat doctor', 'npx concordat doctor --json'],
  async run({ positionals, operator }) {
    none(positionals)
    const report = await (await operator()).doctor()
    return { text: `${report.lines.map(show).join('\n')}\n`, json: report, code: CODES[report.status] }
  },
}

export const DOCTOR_COMMANDS: readonly Command[] = [doctor]

function show({ check, status, text, remedy }: DoctorLine): string {
  const line = `${status.padEnd(4)}  ${check.padEnd(10)}  ${printable(text)}`
  return remedy === undefined ? line : `${line}\n${' '.repeat(18)}-> ${printable(remedy)}`
}
