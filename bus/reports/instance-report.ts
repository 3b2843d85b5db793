/**
 * An instance's report: names and counters of its bindings, and resource use of the process. Never a payload or the text of an error:
 * every reader of the bus's channels can read it.
 */
import type { BindingStatus } from '../../binder/status.ts'
import { parseShallow } from '../../core/json-depth-limit.ts'

/** A binding of an instance. Counters start when its binder is made. */
export type BindingReport = Pick<
  BindingStatus,
  | 'name'
  | 'kind'
  | 'channel'
  | 'group'
  | 'partitions'
  | 'running'
  | 'queued'
  | 'handled'
  | 'deadLettered'
  | 'dropped'
  | 'retried'
> & {
  /** Same as `BindingStatus.state`; an instance of another version may have other states. */
  readonly state: string
  /** Same as `BindingStatus.circuit`: `closed`, `open` or `half-open`. */
  readonly circuit?: string | undefined
  /** Same as `BindingStatus.runningForMs`. */
  readonly runningForMs?: number | undefined
  /** Same as `BindingStatus.isSlow`. */
  readonly isSlow?: true | undefined
}

/** Body of an instance's report. */
export interface ReportBody {
  /** Since the process began, ms. */
  readonly uptimeMs: number
  /** Resident memory of the process. */
  readonly memoryBytes: number
  /** Use of a core since the last report: 0.5 is half of it. */
  readonly cpu: number
  /** How long its event loop was blocked within the last minute, ms. */
  readonly blockedMs: number
  readonly bindings: readonly BindingReport[]
  /** Bindings that were left out, so that the report is small. */
  readonly leftOut: number
}

/** Raised when an older reader could misunderstand a report; those drop what they do not know. */
const REPORT_VERSION = 1
/** Size limit of a report, for sender and receiver. */
export const MAX_REPORT_BYTES = 64 * 1024
const MAX_BINDINGS = 300
/** A name that is made of a channel's and a group's has 301 characters at most; a longer one is left out. */
const MAX_NAME = 301
const MAX_WORD = 30
const MAX_PARTITIONS = 10_000

/** Encodes as many bindings as fit. */
export function encodeReport(report: Omit<ReportBody, 'leftOut'>): Uint8Array {
  const rows: string[] = []
  let bytes = 512
  for (const binding of report.bindings) {
    if (Math.max(binding.name.length, binding.channel.length, binding.group?.length ?? 0) > MAX_NAME) continue
    const row = JSON.stringify(binding)
    bytes += Buffer.byteLength(row) + 1
    if (rows.length >= MAX_BINDINGS || bytes > MAX_REPORT_BYTES) break
    rows.push(row)
  }
  const { uptimeMs, memoryBytes, cpu, blockedMs, bindings } = report
  const head = { v: REPORT_VERSION, uptimeMs, memoryBytes, cpu, blockedMs, leftOut: bindings.length - rows.length }
  return Buffer.from(`${JSON.stringify(head).slice(0, -1)},"bindings":[${rows.join(',')}]}`)
}

/** Never throws, whatever was sent: `unsupported` was written by a newer version. */
export function decodeReport(body: Uint8Array): ReportBody | 'malformed' | 'unsupported' {
  if (body.byteLength > MAX_REPORT_BYTES) return 'malformed'
  try {
    const fields = record(parseShallow(Buffer.from(body).toString('utf8')))
    if (fields['v'] !== REPORT_VERSION) return Number(fields['v']) > REPORT_VERSION ? 'unsupported' : 'malformed'
    const bindings = fields['bindings']
    if (!Array.isArray(bindings) || bindings.length > MAX_BINDINGS) return 'malformed'
    return {
      uptimeMs: whole(fields['uptimeMs']),
      memoryBytes: whole(fields['memoryBytes']),
      cpu: share(fields['cpu']),
      blockedMs: whole(fields['blockedMs']),
      bindings: bindings.map((each) => bindingIn(record(each))),
      leftOut: whole(fields['leftOut']),
    }
  } catch {
    return 'malformed'
  }
}

type Fields = Readonly<Record<string, unknown>>

const KINDS: readonly unknown[] = ['source', 'sink', 'processor', 'batch', 'poll'] satisfies BindingStatus['kind'][]

function bindingIn(fields: Fields): BindingReport {
  const { kind, group, circuit, runningForMs, isSlow } = fields
  if (!KINDS.includes(kind)) throw new TypeError('kind')
  return {
    name: text(fields['name'], MAX_NAME),
    kind: kind as BindingReport['kind'],
    channel: text(fields['channel'], MAX_NAME),
    group: group === null ? null : text(group, MAX_NAME),
    partitions: partitionsIn(fields['partitions']),
    state: word(fields['state']),
    ...(circuit !== undefined && { circuit: word(circuit) }),
    ...(runningForMs !== undefined && { runningForMs: whole(runningForMs) }),
    ...(isSlow === true && { isSlow }),
    running: whole(fields['running']),
    queued: whole(fields['queued']),
    handled: whole(fields['handled']),
    deadLettered: whole(fields['deadLettered']),
    dropped: whole(fields['dropped']),
    retried: whole(fields['retried']),
  }
}

/** Only what is asked for is read, by its own name: nothing that was sent is copied as a whole. */
function record(value: unknown): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields
  throw new TypeError('object')
}

function text(value: unknown, maxLength: number): string {
  if (typeof value === 'string' && value.length > 0 && value.length <= maxLength) return value
  throw new TypeError('text')
}

function word(value: unknown): string {
  const found = text(value, MAX_WORD)
  if (/^[a-z-]+$/.test(found)) return found
  throw new TypeError('word')
}

function whole(value: unknown): number {
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number
  throw new TypeError('whole')
}

/** Number of partitions that a lag query would go through. */
function partitionsIn(value: unknown): number {
  if (Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= MAX_PARTITIONS)
    return value as number
  throw new TypeError('partitions')
}

function share(value: unknown): number {
  if (typeof value === 'number' && value >= 0 && value <= 10_000) return value
  throw new TypeError('share')
}
