import type { Clock } from '../../core/clock.ts'
import type { SqlExecutor } from '../../core/sql.ts'
import type { ClaimedPartition } from './claimed-partition.ts'
import { Mutex } from './fifo-mutex.ts'
import type { ReadRow } from './message-row.ts'
import { type SharedReads, sharedReads } from './shared-reads.ts'
import type { StatementRunner } from './statement-runner.ts'
import type { TransportTables } from './tables.ts'
import { failure, LOG_MADE_AGAIN } from './transport-errors.ts'

export interface ReadRequest {
  /** The position, which is updated with everything that was written. */
  readonly place: ClaimedPartition
  /** Maximum number of messages; 0: only writes. */
  readonly limit: number
  /** Maximum size in bytes; the first message is returned regardless of its size. */
  readonly bytes: number
}

export interface ReadResult {
  readonly rows: readonly ReadRow[]
  /** There are more messages, although fewer than the limit were returned. */
  readonly isPart?: boolean
  /** Another reader was assigning positions: the newest commits may be missing. */
  readonly isBehind?: boolean
  /** Settled messages were written, and will be flushed to disk. */
  readonly wrote: boolean
}

/** A partition as a reader uses it. */
export interface Source {
  /** Number of the partition in the tables, and within its destination. */
  readonly part: number
  readonly index: number
  /** Writes settled messages and reads the next ones. @throws TransportError; `isFenced` when another member has the position */
  read(request: ReadRequest): Promise<ReadResult>
  /**
   * Gives the partition up, with its settled messages on disk. @throws TransportError; also when it failed, so the partition may
   * still be held
   */
  give(place: ClaimedPartition): Promise<void>
  /** Ends reading. */
  leave(): void
}

interface FetchedRow {
  /** `null` in a last row with another meaning. */
  readonly pos: string | null
  readonly key: Uint8Array | null
  readonly meta: string
  readonly body: Uint8Array | null
}

/** Old versions are deleted after this many new ones, and with each claim, because many readers may end before. */
const TIDY_EVERY = 1_000
const KEEP_VERSIONS = 100

export interface GroupSourceFields {
  readonly database: StatementRunner
  readonly tables: TransportTables
  readonly clock: Clock
  readonly leaseMs: number
  readonly group: number
  readonly owner: string
  readonly writers: Writers
}

/**
 * Writers of a position. `one`: its subscription alone. Otherwise handlers' transactions, too, on their own connections
 * (`beside`) or on those that the subscription's statements use (`inside`).
 */
export type Writers = 'one' | 'beside' | 'inside'

/** The version that a write of a position follows. */
export interface PlaceVersion {
  readonly group: number
  readonly part: number
  readonly version: string
  readonly epoch: string
  readonly owner: string
}

/**
 * A group's position: every write names the version that it follows, so of two owners one is refused.
 *
 * If handlers' transactions write it, too, each write has its turn from its statement to the end of its transaction. The holder
 * of a turn never waits for a connection held by another that waits for a turn: where both use the same connections, the turn is
 * requested after the connection was obtained.
 */
export class GroupSource implements Source {
  readonly part: number
  readonly index: number
  readonly #fields: GroupSourceFields
  readonly #epoch: string
  readonly #turn = new Mutex()
  /** Shared reads with other groups of this process, from the first read on. */
  #shared: SharedReads | undefined
  #hasLeft = false
  #version: bigint
  #appended = 0

  constructor(
    fields: GroupSourceFields,
    claim: { readonly part: number; readonly n: number; readonly ver: string; readonly epoch: string },
  ) {
    this.#fields = fields
    this.part = claim.part
    this.index = claim.n
    this.#version = BigInt(claim.ver)
    this.#epoch = claim.epoch
  }

  get isShared(): boolean {
    return this.#fields.writers !== 'one'
  }

  /** The version in the caller's turn. */
  get version(): PlaceVersion {
    const { group, owner } = this.#fields
    return { group, part: this.part, version: String(this.#version), epoch: this.#epoch, owner }
  }

  /** @returns a function that ends it @throws TransportError `timeout` */
  turn(): Promise<() => void> {
    const { clock, leaseMs } = this.#fields
    return this.#turn.take(clock, leaseMs, () =>
      failure('timeout', `partition ${this.index} was not free for a write of its place within ${leaseMs} ms`),
    )
  }

  /** Records an appended version. */
  appended(): void {
    this.#version++
    this.#appended++
    if (this.#appended % TIDY_EVERY === 0) this.tidy()
  }

  async read(request: ReadRequest): Promise<ReadResult> {
    const shared = this.#joined(request.place)
    if (shared === undefined || request.limit === 0) return this.#fetch(request, shared)
    await shared.underWay(request.place.next)
    const result = (await this.#follow(request, shared)) ?? (await this.#fetch(request, shared))
    shared.moved(this, request.place.next + result.rows.length)
    return result
  }

  leave(): void {
    this.#hasLeft = true
    this.#shared?.leave(this)
  }

  /** Returns `undefined` if no other group of this process reads the partition. */
  #joined({ next }: ClaimedPartition): SharedReads | undefined {
    if (this.#hasLeft) return undefined
    const { database, tables } = this.#fields
    if (this.#shared === undefined) {
      this.#shared = sharedReads(database.sql, tables.log, this.part)
      this.#shared.join(this, next)
    }
    return this.#shared.isShared ? this.#shared : undefined
  }

  #fetch({ place, limit, bytes }: ReadRequest, shared: SharedReads | undefined): Promise<ReadResult> {
    const { tables } = this.#fields
    return this.#write('fetch messages', async (sql) => {
      const { settled, done, changes } = place.settled()
      const writes = place.unwritten > 0
      const { group, part, version, epoch, owner } = this.version
      const numbers = shared === undefined ? '' : 'xid::text AS xid, seq::text AS seq, '
      const fetched = sql<FetchedRow & { readonly xid: string; readonly seq: string }>(
        `SELECT pos::text AS pos, ${numbers}key, meta::text AS meta, body FROM ${tables.fetch}($1, $2, $3::bigint, $4::bigint, $5,
           $6::bigint, $7::bigint[], $8, $9::bigint, $10, $11::bigint)`,
        [group, part, version, epoch, owner, settled, done, writes, place.next, limit, bytes],
      )
      const read = fetched.then(({ rows }) =>
        inLine(this.index, place.next, rows.at(-1)?.pos === null ? rows.slice(0, -1) : rows),
      )
      if (limit > 0) await shared?.fetched(place.next, limit, read)
      const rows = await read
      if (rows.length > 0 || writes) this.appended()
      place.wrote(changes)
      return { rows, wrote: writes, isBehind: rows.length < (await fetched).rows.length }
    })
  }

  /** Takes messages that another group has fetched. `undefined`: too few, or they differ from the stored ones. */
  async #follow({ place, limit, bytes }: ReadRequest, shared: SharedReads): Promise<ReadResult | undefined> {
    const rows = shared.from(place.next, limit, bytes)
    if (rows.length === 0) return undefined
    const result = await this.#write('go on in messages that another group has fetched', async (sql) => {
      const { settled, done, changes } = place.settled()
      const wrote = place.unwritten > 0
      const { group, part, version, epoch, owner } = this.version
      const numbers = [rows.map(({ xid }) => xid).join(), rows.map(({ seq }) => seq).join()]
      const answer = await sql<{ is_same: boolean }>(
        `SELECT ${this.#fields.tables.follow}($1, $2, $3::bigint, $4::bigint, $5, $6::bigint, $7::bigint[], $8::bigint,
           string_to_array($9, ',')::xid8[], string_to_array($10, ',')::bigint[]) AS is_same`,
        [group, part, version, epoch, owner, settled, done, place.next, ...numbers],
      )
      if (answer.rows[0]?.is_same !== true) return undefined
      this.appended()
      place.wrote(changes)
      return { rows, wrote, isPart: rows.length < limit }
    })
    if (result === undefined) shared.forget()
    return result
  }

  async give(place: ClaimedPartition): Promise<void> {
    const { tables } = this.#fields
    await this.#write('give a partition back', async (sql) => {
      const { settled, done } = place.settled()
      const { group, part, version, epoch, owner } = this.version
      const { rows } = await sql<{ given: boolean }>(
        `SELECT ${tables.giveBack}($1, $2, $3::bigint, $4::bigint, $5, $6::bigint, $7::bigint[]) AS given`,
        [group, part, version, epoch, owner, settled, done],
      )
      // After a crash of the server it may still be held, under an older version.
      if (rows[0]?.given !== true)
        throw failure('unavailable', `the place of partition ${this.index} is not as it was left`)
    })
  }

  /** Runs one statement, in its turn if others write the position, too. */
  #write<T>(what: string, statement: (query: SqlExecutor['query']) => Promise<T>): Promise<T> {
    const { database, writers } = this.#fields
    const alone = (): Promise<T> => statement((text, parameters) => database.query(what, text, parameters))
    if (writers === 'one') return alone()
    return writers === 'beside' ? this.#beside(alone) : this.#inside(what, statement)
  }

  async #beside<T>(statement: () => Promise<T>): Promise<T> {
    const end = await this.turn()
    try {
      return await statement()
    } finally {
      end()
    }
  }

  async #inside<T>(what: string, statement: (query: SqlExecutor['query']) => Promise<T>): Promise<T> {
    let isOver = false
    let end: (() => void) | undefined
    try {
      const { database, leaseMs } = this.#fields
      return await database.transaction(what, leaseMs, async (tx) => {
        end = await this.turn()
        if (!isOver) return statement((text, parameters) => tx.query(text, parameters))
        end()
        throw new Error('it is no longer awaited')
      })
    } finally {
      isOver = true
      end?.()
    }
  }

  /** Deletes old versions in the background: they have no readers and only cost space, so a failure changes nothing. */
  tidy(): void {
    if (this.#version <= KEEP_VERSIONS) return
    const { database, tables, group } = this.#fields
    database
      .query(
        'delete old places',
        `DELETE FROM ${tables.progress} WHERE grp = $1 AND part = $2 AND ver < $3::bigint`,
        [group, this.part, String(this.#version - BigInt(KEEP_VERSIONS))],
        { isUpkeep: true },
      )
      .catch(() => undefined)
  }
}

/** A position without a group, only in memory. It can recognise its last message, in case a crash has undone its position. */
export class AnonymousSource implements Source {
  readonly part: number
  readonly index: number
  readonly #database: StatementRunner
  readonly #tables: TransportTables
  readonly #log: string
  #last: { readonly xid: string; readonly seq: string } | undefined

  constructor(
    fields: { database: StatementRunner; tables: TransportTables; log: string },
    part: number,
    index: number,
  ) {
    this.#database = fields.database
    this.#tables = fields.tables
    this.#log = fields.log
    this.part = part
    this.index = index
  }

  async read({ place, limit, bytes }: ReadRequest): Promise<ReadResult> {
    const from = place.next
    if (limit === 0) return { rows: [], wrote: false }
    const { rows: found } = await this.#database.query<FetchedRow & { readonly xid: string; readonly seq: string }>(
      'fetch messages',
      `SELECT m.pos::text AS pos, m.xid::text AS xid, m.seq::text AS seq, m.key, m.meta::text AS meta, m.body
       FROM ${this.#tables.ring} r LEFT JOIN LATERAL ${this.#tables.peek}($1, $2::bigint, $3, $4::bigint, $5::xid8, $6::bigint) m ON true
       WHERE r.tableoid = $7::text::oid`,
      [this.part, from, limit, bytes, this.#last?.xid ?? null, this.#last?.seq ?? null, this.#log],
    )
    // Not even an empty result is conclusive: the partition's number may belong to another channel by now.
    if (found.length === 0) throw failure('unavailable', LOG_MADE_AGAIN)
    const rows = found.filter(({ pos }) => pos !== null)
    const read = inLine(this.index, from, rows)
    const last = rows.at(-1)
    if (last !== undefined) this.#last = { xid: last.xid, seq: last.seq }
    // Another reader may have been assigning positions.
    return { rows: read, wrote: false, isBehind: true }
  }

  give(): Promise<void> {
    return Promise.resolve()
  }

  leave(): void {}
}

/**
 * Checks that positions have no gaps. A statement whose snapshot is older than the truncation of a segment finds the positions of
 * carried-over messages but not the messages; the next one finds both. A reader without a group may be too late.
 * @throws Error when one is missing
 */
function inLine<Row extends FetchedRow>(
  index: number,
  from: number,
  rows: readonly Row[],
): ReadonlyArray<Omit<Row, 'pos'> & ReadRow> {
  return rows.map(({ pos, ...row }, n) => {
    if (Number(pos) !== from + n)
      throw new Error(
        `partition ${index} offset ${from + n} cannot be read: its segment was freed meanwhile, or retentionMs is over. It is tried ` +
          'again; where it stays so (a dump was restored without the log), stop every process and call postgresTransport({ sql }).repair() once',
      )
    return { ...row, position: from + n }
  })
}
