import type {
  CommitOperation,
  CommitReply,
  CommitRequest,
  Generation,
  LogChange,
  StateReading,
  StateRecord,
} from '../store/cluster-store.ts'
import { MemoryLog } from './log.ts'

/** How long the outcome of a repeated request is kept. */
const REMEMBER_MS = 60_000
const TOGETHER = 500

interface Attempted {
  readonly attempt: number
  readonly reply: CommitReply | undefined
  readonly until: number
}

/** A shared state: records, including tombstones, and their log. */
export class MemoryState {
  readonly log = new MemoryLog()
  readonly #records = new Map<string, StateRecord>()
  /** Deleted keys with the revision of their deletion, oldest first. */
  readonly #tombs = new Map<string, number>()
  readonly #attempts = new Map<string, Attempted>()
  readonly #isCurrent: (member: Generation) => boolean
  #keepChanges = 1

  constructor(isCurrent: (member: Generation) => boolean) {
    this.#isCurrent = isCurrent
  }

  read(keys: readonly string[] | undefined): StateReading {
    const wanted = keys?.map((key) => this.#record(key)) ?? [...this.#records.values()]
    return { revision: this.log.last, records: wanted }
  }

  commit(request: CommitRequest, nowUs: number): CommitReply {
    const attempted = this.#attempts.get(request.requestId)
    if (attempted !== undefined && attempted.attempt >= request.attempt) return attempted.reply ?? { status: 'unknown' }
    const reply = attempted?.reply ?? this.#found(request) ?? this.#execute(request, nowUs)
    if (request.attempt > 1) this.#remember(request, reply, nowUs / 1_000)
    return reply
  }

  /** Deletes the entries bound to an ended generation: in one entry of the log, or several for very many. */
  unbind(member: Generation, nowUs: number): void {
    const bound = [...this.#records.values()].filter(({ boundTo }) => boundTo !== undefined && isSame(boundTo, member))
    const keys = bound.map(({ key }) => key).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    for (let from = 0; from < keys.length; from += TOGETHER) {
      const changes = keys.slice(from, from + TOGETHER).map((key) => ({ kind: 'delete', key }) as const)
      this.#write(nowUs, changes, '')
    }
  }

  clear(): void {
    this.#records.clear()
    this.#tombs.clear()
    this.#attempts.clear()
    this.log.clear()
  }

  #record(key: string): StateRecord {
    return this.#records.get(key) ?? { key, version: 0, json: undefined }
  }

  #found(request: CommitRequest): CommitReply | undefined {
    if (request.attempt === 1) return undefined
    const found = this.log.find(request.since, request.requestId)
    if (found === 'unknown') return { status: 'unknown' }
    return found === undefined ? undefined : { status: 'committed', revision: found, changed: true }
  }

  #execute(request: CommitRequest, nowUs: number): CommitReply {
    this.#compact(nowUs - request.keepDeletedMs * 1_000)
    for (const operation of request.operations) {
      const record = this.#record(operation.key)
      if (!fits(record, operation.ifVersion)) return { status: 'conflict', record }
      const boundTo = operation.kind === 'put' ? operation.boundTo : undefined
      if (boundTo !== undefined && !this.#isCurrent(boundTo)) return { status: 'evicted', boundTo }
    }
    const changes = request.operations.flatMap((operation) => this.#change(operation))
    if (changes.length === 0) return { status: 'committed', revision: this.log.last, changed: false }
    this.#keepChanges = request.keepChanges
    return { status: 'committed', revision: this.#write(nowUs, changes, request.requestId), changed: true }
  }

  #change(operation: CommitOperation): LogChange[] {
    const { key } = operation
    if (operation.kind === 'put') return [{ kind: 'put', key, json: operation.json, boundTo: operation.boundTo }]
    if (operation.kind === 'check' || this.#record(key).json === undefined) return []
    return [{ kind: 'delete', key }]
  }

  /** The map before the log, so that a notified follower reads the change. */
  #write(nowUs: number, changes: readonly LogChange[], requestId: string): number {
    const version = Math.max(this.log.last + 1, nowUs)
    for (const change of changes) {
      if (change.kind !== 'put' && change.kind !== 'delete') continue
      const { key } = change
      this.#tombs.delete(key)
      if (change.kind === 'put') this.#records.set(key, { key, version, json: change.json, boundTo: change.boundTo })
      else {
        this.#records.set(key, { key, version, json: undefined })
        this.#tombs.set(key, version)
      }
    }
    return this.log.append(nowUs, this.#keepChanges, changes, requestId)
  }

  #compact(beforeUs: number): void {
    for (const [key, version] of this.#tombs) {
      if (version >= beforeUs) return
      this.#tombs.delete(key)
      this.#records.delete(key)
    }
  }

  #remember(request: CommitRequest, reply: CommitReply, nowMs: number): void {
    const outcome = reply.status === 'committed' && reply.changed ? reply : undefined
    this.#attempts.set(request.requestId, { attempt: request.attempt, reply: outcome, until: nowMs + REMEMBER_MS })
    for (const [id, { until }] of this.#attempts) if (until < nowMs) this.#attempts.delete(id)
  }
}

function fits(record: StateRecord, ifVersion: number | undefined): boolean {
  if (ifVersion === undefined) return true
  return ifVersion === 0 ? record.json === undefined : record.version === ifVersion
}

export function isSame(a: Generation, b: Generation): boolean {
  return a.instance === b.instance && a.generation === b.generation
}
