import type { Database } from './database.ts'
import type { Settled } from './place.ts'
import type { TransportTables } from './tables.ts'
import type { LogRow } from './wire.ts'

export interface ReadRow extends LogRow {
  readonly position: number
}

export interface ReadRequest {
  readonly settled: Settled
  /** `settled` has changed since it was written. */
  readonly writes: boolean
  readonly from: number
  /** 0: only writes. */
  readonly limit: number
  /** The first message comes whatever its size. */
  readonly bytes: number
}

/** One partition as one reader reads it. */
export interface Source {
  /** The partition's number in the tables, and within its destination. */
  readonly part: number
  readonly index: number
  /** Writes what is settled and reads what is next. @throws TransportError; `isFenced` when the place is another's */
  read(request: ReadRequest): Promise<readonly ReadRow[]>
  /** Gives the place up, settled on the disk. @throws TransportError */
  give(settled: Settled): Promise<void>
}

interface FetchedRow {
  readonly pos: string
  readonly key: Uint8Array | null
  readonly meta: string
  readonly body: Uint8Array | null
}

/** After so many versions the old ones are deleted. */
const TIDY_EVERY = 1_000
const KEEP_VERSIONS = 100

/** A group's place: every write names the version it follows, so of two owners one is refused. */
export class GroupSource implements Source {
  readonly part: number
  readonly index: number
  readonly #database: Database
  readonly #tables: TransportTables
  readonly #group: number
  readonly #owner: string
  readonly #epoch: string
  #version: bigint
  #appended = 0

  constructor(
    fields: { database: Database; tables: TransportTables; group: number; owner: string },
    claim: { readonly part: number; readonly n: number; readonly ver: string; readonly epoch: string },
  ) {
    this.#database = fields.database
    this.#tables = fields.tables
    this.#group = fields.group
    this.#owner = fields.owner
    this.part = claim.part
    this.index = claim.n
    this.#version = BigInt(claim.ver)
    this.#epoch = claim.epoch
  }

  async read({ settled, writes, from, limit, bytes }: ReadRequest): Promise<readonly ReadRow[]> {
    const { rows } = await this.#database.query<FetchedRow>(
      'fetch messages',
      `SELECT pos::text AS pos, key, meta::text AS meta, body FROM ${this.#tables.cycle}($1, $2, $3::bigint, $4::bigint, $5,
         $6::bigint, $7::bigint[], $8, $9::bigint, $10, $11::bigint)`,
      [
        this.#group,
        this.part,
        String(this.#version),
        this.#epoch,
        this.#owner,
        settled.settled,
        [...settled.done],
        writes,
        from,
        limit,
        bytes,
      ],
    )
    if (rows.length > 0 || writes) {
      this.#version++
      this.#appended++
      if (this.#appended % TIDY_EVERY === 0) this.#tidy()
    }
    return inLine(this.index, from, rows)
  }

  async give({ settled, done }: Settled): Promise<void> {
    await this.#database.query(
      'give a partition back',
      `SELECT ${this.#tables.give}($1, $2, $3::bigint, $4::bigint, $5::bigint, $6::bigint[])`,
      [this.#group, this.part, String(this.#version), this.#epoch, settled, [...done]],
    )
  }

  /** Nobody reads old versions: what stays costs space only, so a failure changes nothing. */
  #tidy(): void {
    this.#database
      .query(
        'delete old places',
        `DELETE FROM ${this.#tables.progress} WHERE grp = $1 AND part = $2 AND ver < $3::bigint`,
        [this.#group, this.part, String(this.#version - BigInt(KEEP_VERSIONS))],
      )
      .catch(() => undefined)
  }
}

/** A place without a group: in memory only. It knows its last message again, in case a crash has undone its position. */
export class AnonymousSource implements Source {
  readonly part: number
  readonly index: number
  readonly #database: Database
  readonly #tables: TransportTables
  #last: { readonly xid: string; readonly seq: string } | undefined

  constructor(fields: { database: Database; tables: TransportTables }, part: number, index: number) {
    this.#database = fields.database
    this.#tables = fields.tables
    this.part = part
    this.index = index
  }

  async read({ from, limit, bytes }: ReadRequest): Promise<readonly ReadRow[]> {
    if (limit === 0) return []
    const { rows } = await this.#database.query<FetchedRow & { readonly xid: string; readonly seq: string }>(
      'fetch messages',
      `SELECT pos::text AS pos, xid::text AS xid, seq::text AS seq, key, meta::text AS meta, body
       FROM ${this.#tables.peek}($1, $2::bigint, $3, $4::bigint, $5::xid8, $6::bigint)`,
      [this.part, from, limit, bytes, this.#last?.xid ?? null, this.#last?.seq ?? null],
    )
    const read = inLine(this.index, from, rows)
    const last = rows.at(-1)
    if (last !== undefined) this.#last = { xid: last.xid, seq: last.seq }
    return read
  }

  give(): Promise<void> {
    return Promise.resolve()
  }
}

/**
 * Positions have no gap. A statement whose snapshot is older than the truncation of a segment finds the positions of what
 * was carried over and not the messages; the next one finds both. A reader without a group may have come too late.
 * @throws Error when one is missing
 */
function inLine(index: number, from: number, rows: readonly FetchedRow[]): readonly ReadRow[] {
  return rows.map(({ pos, key, meta, body }, n) => {
    if (Number(pos) !== from + n)
      throw new Error(
        `partition ${index} offset ${from + n} cannot be read: its segment was freed meanwhile, or retentionMs is over`,
      )
    return { position: from + n, key, meta, body }
  })
}
