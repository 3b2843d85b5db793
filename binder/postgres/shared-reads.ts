import type { SqlClient } from '../../core/sql.ts'
import type { ReadRow } from './message-row.ts'

/** A message with the numbers by which its position can be checked. */
export interface NumberedRow extends ReadRow {
  readonly xid: string
  readonly seq: string
}

/** Fewer messages are fetched again, because verifying them also costs a statement. */
const WORTH = 20
/** Limit per partition. Groups further behind fetch for themselves. */
const MAX_ROWS = 1_000
const MAX_BYTES = 4 * 1024 * 1024

/** Readers of this process in one database, by schema and partition. */
const partitions = new WeakMap<SqlClient, Map<string, SharedReads>>()

/** Returns the shared reads of this process's groups in one partition. */
export function sharedReads(sql: SqlClient, schema: string, part: number): SharedReads {
  let all = partitions.get(sql)
  if (all === undefined) partitions.set(sql, (all = new Map()))
  const name = `${part} ${schema}`
  const known = all.get(name)
  if (known !== undefined) return known
  const mine = all
  const made = new SharedReads(() => mine.delete(name))
  all.set(name, made)
  return made
}

/**
 * The messages of a partition that one group of this process has fetched last, for the others. A crash of the server may undo
 * positions, so readers must have the server verify messages from here.
 */
export class SharedReads {
  readonly #onEmpty: () => void
  /** Position of each reader. */
  readonly #readers: Map<object, number> = new Map()
  /** Rows in order, without a gap. */
  #rows: readonly NumberedRow[] = []
  #reading: { readonly from: number; readonly until: number; readonly done: Promise<unknown> } | undefined
  #isMuch = false

  constructor(onEmpty: () => void) {
    this.#onEmpty = onEmpty
  }

  /** False: no other group would use them. */
  get isShared(): boolean {
    return this.#readers.size > 1
  }

  join(reader: object, next: number): void {
    this.#readers.set(reader, next)
  }

  leave(reader: object): void {
    this.#readers.delete(reader)
    if (this.#readers.size === 0) this.#onEmpty()
    if (!this.isShared) this.forget()
  }

  /** Waits for a fetch of these messages by another group, if there is much to read. Never rejects. */
  async underWay(from: number): Promise<void> {
    const reading = this.#reading
    if (!this.#isMuch || reading === undefined || from < reading.from || from >= reading.until) return
    await reading.done.catch(() => undefined)
  }

  /** Returns messages from a position on, limited in number and bytes; none if it is not worthwhile. */
  from(position: number, limit: number, bytes: number): readonly NumberedRow[] {
    const [oldest] = this.#rows
    if (oldest === undefined || position < oldest.position) return []
    const rows = this.#rows.slice(position - oldest.position, position - oldest.position + limit)
    let left = bytes
    const end = rows.findIndex(({ body }, n) => {
      const isEnough = n > 0 && left <= 0
      left -= body?.byteLength ?? 0
      return isEnough
    })
    const fitting = end < 0 ? rows : rows.slice(0, end)
    return fitting.length < WORTH ? [] : fitting.map(ownBody)
  }

  /** Stores a fetch, which others may wait for. */
  async fetched(from: number, limit: number, fetch: Promise<readonly NumberedRow[]>): Promise<void> {
    const reading = { from, until: from + limit, done: fetch }
    this.#reading = reading
    try {
      const rows = await fetch
      this.#isMuch = rows.length >= WORTH
      this.#keep(rows)
    } finally {
      if (this.#reading === reading) this.#reading = undefined
    }
  }

  /** Drops messages that all readers have. */
  moved(reader: object, next: number): void {
    if (!this.#readers.has(reader)) return
    this.#readers.set(reader, next)
    this.#trim(Math.min(...this.#readers.values()))
  }

  /** Drops the cached rows, which differ from the stored messages. */
  forget(): void {
    this.#rows = []
  }

  #keep(rows: readonly NumberedRow[]): void {
    const [first] = rows
    const [oldest] = this.#rows
    if (first === undefined) return
    const end = oldest === undefined ? first.position : oldest.position + this.#rows.length
    const isNext = oldest !== undefined && first.position >= oldest.position && first.position <= end
    const fresh = rows.slice(isNext ? end - first.position : 0).map(ownBody)
    this.#rows = isNext ? [...this.#rows, ...fresh] : fresh
    this.#trim(Math.min(...this.#readers.values()))
  }

  #trim(below: number): void {
    let bytes = 0
    let keep = 0
    for (let n = this.#rows.length - 1; n >= 0 && keep < MAX_ROWS; n--) {
      const { position, body } = this.#rows[n] as NumberedRow
      bytes += body?.byteLength ?? 0
      if (position < below || bytes > MAX_BYTES) break
      keep++
    }
    if (keep < this.#rows.length) this.#rows = this.#rows.slice(this.#rows.length - keep)
  }
}

/** Copies the body, because a handler that reads bytes may modify them. */
function ownBody(row: NumberedRow): NumberedRow {
  return row.body === null ? row : { ...row, body: new Uint8Array(row.body) }
}
