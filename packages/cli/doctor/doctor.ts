/** Checks a service's database and reports problems and remedies. Changes nothing. */
import type { Clock } from 'concordat/core'
import { DEFAULT_SCHEMA, shellWord } from 'concordat/extension'
import type { OperatorRecords } from 'concordat/operator'
import type { DeadLetterAdmin, DeadLetterPlace } from '../dead-letter-types.ts'
import { tablesIn } from '../existing-tables.ts'
import type { InstancesView } from '../instances.ts'
import type { OperatedResource } from '../prepared-transactions.ts'
import { attempt, type Examined, withError } from './check-context.ts'
import { examineGroups } from './groups.ts'
import { examineInstances } from './instances.ts'
import { type DoctorLine, fail } from './line.ts'
import { examineSchemas } from './other-schemas.ts'
import { examineRights } from './rights.ts'
import { examineServer } from './server.ts'
import { examineTables } from './table-versions.ts'
import { examineWaitingRows } from './waiting-rows.ts'
import { examineResource } from './xa-resources.ts'

/** Findings of the doctor. */
export interface DoctorReport {
  /** The worst of the lines. */
  readonly status: DoctorLine['status']
  readonly lines: readonly DoctorLine[]
}

type Look = (examined: Examined) => Promise<readonly DoctorLine[]>

const LOOKS: ReadonlyArray<readonly [string, Look]> = [
  ['server', examineServer],
  ['tables', examineTables],
  ['schemas', examineSchemas],
  ['rights', examineRights],
  ['content', examineWaitingRows],
]

/** Subject of the examination. */
export interface Patient {
  readonly records: OperatorRecords
  readonly clock: Clock
  readonly resources: readonly OperatedResource[]
  readonly letters: Pick<DeadLetterAdmin, 'count' | 'backlog' | 'besideLog'>
  readonly places: readonly DeadLetterPlace[]
  readonly instances: InstancesView | undefined
  /** A broker was named: services send and handle messages, whatever tables exist. */
  readonly hasBroker: boolean
}

export async function examine(patient: Patient): Promise<DoctorReport> {
  const { records, clock, resources, letters, places, instances, hasBroker } = patient
  const { sql, schema } = records
  const lines: DoctorLine[] = []
  try {
    const tables = await tablesIn(sql, schema)
    for (const [check, look] of LOOKS)
      lines.push(...(await attempt(check, () => look({ records, sql, schema, clock, tables }))))
    const hasMessages = hasBroker || ['outbox', 'inbox', 'saga'].some((name) => tables.has(name))
    lines.push(
      ...(await attempt('groups', () =>
        examineGroups({ sql, schema, tables, letters, places, instances, hasMessages, hasBroker }),
      )),
    )
    if (instances !== undefined && instances.instances.length > 0) lines.push(...examineInstances(instances))
  } catch (error) {
    const line = fail('connection', 'no answer', 'check the address, the role and that the server is up')
    lines.push(withError(line, error))
  }
  for (const resource of resources) lines.push(...(await examineResource(resource)))
  return reportOf(lines.map((line) => inSchema(line, schema)))
}

/** The advised commands use the same tables. */
function inSchema(line: DoctorLine, schema: string): DoctorLine {
  const { remedy } = line
  if (schema === DEFAULT_SCHEMA || remedy?.startsWith('npx concordat') !== true || remedy.includes('--schema'))
    return line
  return { ...line, remedy: `${remedy} --schema ${shellWord(schema)}` }
}

/** The most serious lines first. */
const RANKS = ['fail', 'warn', 'unknown'] as const

function reportOf(lines: readonly DoctorLine[]): DoctorReport {
  const has = (status: DoctorLine['status']): boolean => lines.some((line) => line.status === status)
  return { status: RANKS.find(has) ?? 'ok', lines }
}
