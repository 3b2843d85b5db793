/** Converts rows and answers of the functions to types of the contract. Names and keys are written as `storableText`. */
import { originalText, storableText } from '../../../core/escape-nul.ts'
import type {
  CommitOperation,
  CommitReply,
  LogChange,
  LogEntry,
  MemberRecord,
  MemberTransition,
  StateRecord,
} from '../store/cluster-store.ts'

interface BoundRow {
  readonly instance?: string | null
  readonly generation?: string | number | null
}

export interface StateRow extends BoundRow {
  readonly key: string
  readonly version: string | number
  readonly json: string | null
}

export interface CommitRow {
  readonly status: CommitReply['status']
  readonly at_revision: string | null
  readonly changed: boolean
  readonly found_key: string | null
  readonly found_version: string | null
  readonly found_json: string | null
  readonly found_instance: string | null
  readonly found_generation: string | null
}

export interface EntryRow {
  readonly revision: string
  readonly previous: string
  /** JSON of a list of `ChangeRow`. */
  readonly changes: string
}

type ChangeRow =
  | ({ readonly kind: 'put'; readonly key: string; readonly json: string } & BoundRow)
  | { readonly kind: 'delete'; readonly key: string }
  | ({ readonly kind: MemberTransition } & MemberRecord)

/** Argument format of `cluster_commit`. */
export function operationsText(operations: readonly CommitOperation[]): string {
  const rows = operations.map((operation) => ({
    kind: operation.kind,
    key: storableText(operation.key),
    if: operation.ifVersion,
    ...(operation.kind === 'put' ? { json: operation.json, ...storedBound(operation.boundTo) } : {}),
  }))
  return JSON.stringify(rows)
}

export function commitReply(row: CommitRow): CommitReply {
  switch (row.status) {
    case 'committed':
      return { status: 'committed', revision: Number(row.at_revision), changed: row.changed }
    case 'conflict':
      return {
        status: 'conflict',
        record: stateRecord({
          key: row.found_key ?? '',
          version: row.found_version ?? 0,
          json: row.found_json,
          instance: row.found_instance,
          generation: row.found_generation,
        }),
      }
    case 'evicted':
      return {
        status: 'evicted',
        boundTo: { instance: originalText(row.found_instance ?? ''), generation: Number(row.found_generation) },
      }
    default:
      return { status: 'unknown' }
  }
}

export function stateRecord({ key, version, json, ...bound }: StateRow): StateRecord {
  return { key: originalText(key), version: Number(version), json: json ?? undefined, ...boundTo(bound) }
}

export function memberRecord(row: MemberRecord): MemberRecord {
  return { ...row, instance: originalText(row.instance) }
}

/** Argument format of `cluster_restore`. */
export function membersText(members: readonly MemberRecord[]): string {
  return JSON.stringify(members.map((member) => ({ ...member, instance: storableText(member.instance) })))
}

export function logEntry({ revision, previous, changes }: EntryRow): LogEntry {
  return {
    revision: Number(revision),
    previous: Number(previous),
    changes: rowsIn(changes).map(logChange),
  }
}

/** Entries in the log by another program, or a later release, are skipped, and do not block ours. */
function rowsIn(changes: string): readonly ChangeRow[] {
  try {
    const rows: unknown = JSON.parse(changes)
    return Array.isArray(rows) ? rows.filter(isChange) : []
  } catch {
    return []
  }
}

const TRANSITIONS: ReadonlySet<unknown> = new Set<MemberTransition>([
  'joined',
  'updated',
  'suspect',
  'recovered',
  'left',
  'dead',
  'replaced',
])

function isChange(row: unknown): row is ChangeRow {
  if (typeof row !== 'object' || row === null) return false
  const { kind, key, json, instance, generation } = row as Readonly<Record<string, unknown>>
  const isNumber = typeof generation === 'number' || typeof generation === 'string'
  const isBound = instance === undefined || instance === null || (typeof instance === 'string' && isNumber)
  if (kind === 'delete') return typeof key === 'string'
  if (kind === 'put') return typeof key === 'string' && typeof json === 'string' && isBound
  return TRANSITIONS.has(kind) && typeof instance === 'string' && typeof json === 'string'
}

function logChange(change: ChangeRow): LogChange {
  if (change.kind === 'delete') return { kind: 'delete', key: originalText(change.key) }
  if (change.kind === 'put') {
    return { kind: 'put', key: originalText(change.key), json: change.json, ...boundTo(change) }
  }
  const { kind, ...member } = change
  return { kind, member: memberRecord(member) }
}

function boundTo({ instance, generation }: BoundRow): Pick<StateRecord, 'boundTo'> {
  if (instance === null || instance === undefined) return {}
  return { boundTo: { instance: originalText(instance), generation: Number(generation) } }
}

function storedBound(bound: StateRecord['boundTo']): BoundRow {
  return bound === undefined ? {} : { instance: storableText(bound.instance), generation: bound.generation }
}
