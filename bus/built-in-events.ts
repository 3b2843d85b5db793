/** Events known to every bus. Their schemas are written by hand, because the package has no schema library. */
import type { StandardSchemaV1 } from '../core/schema.ts'
import { BUILT_IN_PREFIX, type BusEvent } from './define-event.ts'

/** Makes every watched config load again. */
export const Refresh: BusEvent<Empty> = builtIn('refresh', () => undefined)

/** The levels of `SetLogLevel`, from the most lines to none. */
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const
/** Level for `SetLogLevel`; `silent` logs nothing. */
export type LogLevel = (typeof LOG_LEVELS)[number]

/** Sets the level of the bus's logger, or calls the option `setLevel`. */
export const SetLogLevel: BusEvent<{ readonly level: LogLevel }> = builtIn('set-log-level', ({ level }) =>
  LOG_LEVELS.includes(level as LogLevel) ? undefined : ['level', `expected one of ${LOG_LEVELS.join(', ')}`],
)

/** Pauses a binding of the attached binder. It keeps its place in the group. Ends with the process. */
export const PauseBinding: BusEvent<{ readonly binding: string }> = builtIn('pause-binding', bindingIssue)

/** Resumes a binding of the attached binder where it was paused. */
export const ResumeBinding: BusEvent<{ readonly binding: string }> = builtIn('resume-binding', bindingIssue)

/** Calls the option `onShutdown` once, after the acknowledgement has gone. */
export const Shutdown: BusEvent<{ readonly reason?: string | undefined }> = builtIn('shutdown', ({ reason }) =>
  reason === undefined || isText(reason, 1_000) ? undefined : ['reason', 'expected text of at most 1000 characters'],
)

/** Interval and duration of reports, both in ms. */
export interface ReportOrder {
  readonly everyMs: number
  readonly forMs: number
}

const MAX_REPORTING_MS = 5 * 60_000

/**
 * Requests reports of names and counters: `Bus.watch` repeats it, so that instances report only while watched. Handled by the bus
 * itself.
 */
export const SendReports: BusEvent<ReportOrder> = builtIn('send-reports', ({ everyMs, forMs }) => {
  if (!isWithin(everyMs, 1, 60_000)) return ['everyMs', 'expected a whole number from 1 to 60000']
  return isWithin(forMs, 1, MAX_REPORTING_MS)
    ? undefined
    : ['forMs', `expected a whole number from 1 to ${MAX_REPORTING_MS}`]
})

/**
 * New value of a watched config. With `version` (from the store that contains it) older ones never replace it; without, the time
 * of the event counts. Without `value` it is a hint to load it.
 */
export interface ConfigChange {
  readonly name: string
  readonly value?: unknown
  readonly version?: number | undefined
}

/** Sends a new value to every watched config with that name. Handled by the bus itself. */
export const ConfigChanged: BusEvent<ConfigChange> = builtIn('config-changed', ({ name, version }) => {
  if (!isText(name, 200)) return ['name', 'expected the name of a config']
  const fits = version === undefined || (Number.isSafeInteger(version) && (version as number) >= 0)
  return fits ? undefined : ['version', 'expected a whole number >= 0']
})

type Empty = Readonly<Record<never, never>>
type Fields = Readonly<Record<string, unknown>>
type FieldIssue = readonly [path: string, message: string] | undefined

function bindingIssue({ binding }: Fields): FieldIssue {
  return isText(binding, 300) ? undefined : ['binding', 'expected the name of a binding']
}

function isWithin(value: unknown, min: number, max: number): boolean {
  return Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max
}

function isText(value: unknown, maxLength: number): boolean {
  return typeof value === 'string' && value.length > 0 && value.length <= maxLength
}

function builtIn<T>(name: string, issueOf: (fields: Fields) => FieldIssue): BusEvent<T> {
  const validate = (value: unknown): StandardSchemaV1.Result<T> => {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      return { issues: [{ message: 'expected an object' }] }
    // Without a prototype, so that a received `__proto__` is a field like any other.
    const fields = Object.assign(Object.create(null) as object, value) as Fields
    const issue = issueOf(fields)
    return issue === undefined ? { value: value as T } : { issues: [{ path: [issue[0]], message: issue[1] }] }
  }
  const schema: StandardSchemaV1<T> = { '~standard': { version: 1, vendor: 'concordat', validate } }
  return Object.freeze({ name: `${BUILT_IN_PREFIX}${name}`, schema })
}
