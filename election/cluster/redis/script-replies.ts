/** Converts data and answers of the scripts to types of the contract. Formats: `scripts-log.ts`. */

import { ClusterError } from '../store/cluster-errors.ts'
import type {
  ChangesReply,
  CommitReply,
  LogChange,
  LogEntry,
  MemberRecord,
  MembersReading,
  MemberTransition,
  StateReading,
  StateRecord,
} from '../store/cluster-store.ts'
import { generationOf, instanceOf } from './keys.ts'

/** Entry format of XRANGE and XREAD. */
export type StreamEntry = readonly [id: string, fields: readonly string[]]

export function stateReading(reply: unknown): StateReading {
  const [revision, found] = reply as [string, string[]]
  const records = pairs(found).map(([key, record]) => stateRecord(key, record))
  return { revision: whole(revision), records: records.filter(isOurs) }
}

export function commitReply(reply: unknown): CommitReply {
  const [status, first = '', second] = reply as [string, string?, (string | number)?]
  if (status === 'committed') return { status, revision: whole(first), changed: second === 1 }
  if (status === 'conflict') return { status, record: checked(stateRecord(first, String(second))) }
  if (status === 'evicted') return { status, boundTo: generationOf(first) }
  return { status: 'unknown' }
}

export function membersReading(reply: unknown): MembersReading {
  const [revision, found] = reply as [string, string[]]
  const records = pairs(found).map(([id, record]) => memberRecord(id, record))
  return { revision: whole(revision), records: records.filter(({ generation }) => Number.isSafeInteger(generation)) }
}

/** A record of another program under its own key does not hide others. */
function isOurs({ version, boundTo: bound }: StateRecord): boolean {
  return Number.isSafeInteger(version) && (bound === undefined || Number.isSafeInteger(bound.generation))
}

/** @throws `cluster.store_refused` if another program has written to our key */
function whole(given: string | number): number {
  const number = Number(given)
  if (Number.isSafeInteger(number)) return number
  throw new ClusterError(
    'cluster.store_refused',
    { store: 'redis' },
    new Error("a number among what it keeps is another program's"),
  )
}

function checked(record: StateRecord): StateRecord {
  if (isOurs(record)) return record
  throw new ClusterError(
    'cluster.store_refused',
    { store: 'redis' },
    new Error("a record among what it keeps is another program's"),
  )
}

export function changesReply(reply: unknown): ChangesReply {
  const [status, entries = []] = reply as [string, StreamEntry[]?]
  if (status === 'ok') return { status, entries: entries.map(logEntry) }
  return { status: status === 'compacted' ? 'compacted' : 'rolled_back' }
}

export function logEntry([id, fields]: StreamEntry): LogEntry {
  const [, previous = '0', , , ...changes] = fields
  return {
    revision: Number.parseInt(id, 10),
    previous: Number(previous),
    changes: pairs(changes).map(([field, text]) => logChange(field, text)),
  }
}

/** `<generation> <status> <joined> <sequence> <suspect> <dead> <join id> <json>` */
export function memberText(record: MemberRecord): string {
  const { generation, status, joinedAt, sequence, suspectAfterMs, deadAfterMs, joinId, json } = record
  return [generation, status, joinedAt, sequence, suspectAfterMs, deadAfterMs, joinId, json].join(' ')
}

function logChange(field: string, text: string): LogChange {
  const [kind, key] = splitOnce(field)
  if (kind === 'delete') return { kind, key }
  if (kind === 'put') {
    const [tag, json] = splitOnce(text)
    return { kind, key, json, ...boundTo(tag) }
  }
  return { kind: kind as MemberTransition, member: memberRecord(key, text) }
}

function stateRecord(key: string, record: string): StateRecord {
  if (record === '') return { key, version: 0, json: undefined }
  const [version, rest] = splitOnce(record)
  const [tag, json] = splitOnce(rest)
  if (tag === '!') return { key, version: Number(version), json: undefined }
  return { key, version: Number(version), json, ...boundTo(tag) }
}

function boundTo(tag: string): Pick<StateRecord, 'boundTo'> {
  return tag === '-' ? {} : { boundTo: generationOf(tag) }
}

function memberRecord(id: string, text: string): MemberRecord {
  const words = text.split(' ', 7)
  const [generation, status, joinedAt, sequence, suspectAfterMs, deadAfterMs, joinId = ''] = words
  return {
    instance: instanceOf(id),
    generation: Number(generation),
    status: status === 'suspect' ? 'suspect' : 'alive',
    joinedAt: Number(joinedAt),
    sequence: Number(sequence),
    suspectAfterMs: Number(suspectAfterMs),
    deadAfterMs: Number(deadAfterMs),
    joinId,
    json: text.slice(words.join(' ').length + 1),
  }
}

function splitOnce(text: string): [first: string, rest: string] {
  const space = text.indexOf(' ')
  return space < 0 ? [text, ''] : [text.slice(0, space), text.slice(space + 1)]
}

function pairs(flat: readonly string[]): Array<[string, string]> {
  return Array.from({ length: flat.length / 2 }, (_, n) => [flat[2 * n] ?? '', flat[2 * n + 1] ?? ''])
}
