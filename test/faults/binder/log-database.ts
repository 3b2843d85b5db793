import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import type { PrivateServer } from '../../support/servers/index.ts'
import { SESSION_MS } from './settings.ts'

/** Position of a group in a partition, as last written. */
export interface Unsettled {
  readonly part: number
  readonly owner: string
  readonly settled: string
  readonly handed: string
}

/** Trigger that records writers whose position is behind the settled one. */
const WATCH = `
  CREATE TABLE faults_sent (id text PRIMARY KEY);
  CREATE TABLE faults_book (id text NOT NULL, process text NOT NULL);
  CREATE INDEX ON faults_book (id);
  CREATE TABLE faults_set_back (grp int, part int, ver bigint, owner text, settled bigint, before bigint);
  CREATE FUNCTION faults_set_back() RETURNS trigger LANGUAGE plpgsql AS $$
  DECLARE most bigint;
  BEGIN
    SELECT max(x.settled) INTO most FROM concordat.transport_progress x
      WHERE x.grp = NEW.grp AND x.part = NEW.part AND x.ver < NEW.ver;
    IF most > NEW.settled THEN
      INSERT INTO public.faults_set_back VALUES (NEW.grp, NEW.part, NEW.ver, NEW.owner, NEW.settled, most);
    END IF;
    RETURN NULL;
  END $$;
  CREATE TRIGGER faults_set_back AFTER INSERT ON concordat.transport_progress
    FOR EACH ROW EXECUTE FUNCTION faults_set_back()`

const NEWEST = `
  SELECT p.part, p.owner, p.settled::text AS settled, p.handed::text AS handed FROM concordat.transport_progress p
  JOIN concordat.transport_group g ON g.id = p.grp AND g.name = 'work'
  WHERE p.ver = (SELECT max(x.ver) FROM concordat.transport_progress x WHERE x.grp = p.grp AND x.part = p.part)`

/**
 * Additions to a PostgreSQL broker: a foreign transaction that stays open throughout, and the mistakes that are built
 * into its functions.
 */
export class LogDatabase {
  readonly #server: PrivateServer
  #foreign: pg.Client | undefined
  #setBack: readonly string[] = []
  #book: readonly string[] = []
  #turned: string | undefined

  constructor(server: PrivateServer) {
    this.#server = server
  }

  /** Called once the tables exist. */
  async open(broken: string | undefined): Promise<void> {
    const client = await this.#connect()
    try {
      await client.query(WATCH)
      const change = Object.hasOwn(MISTAKES, broken ?? '') ? MISTAKES[broken as keyof typeof MISTAKES] : undefined
      if (change !== undefined) await replaceIn(client, change)
    } finally {
      await client.end()
    }
    await this.#hold()
    this.#turned = await this.#ring()
  }

  /** @returns what happened beside the fault; `undefined` when the ring stood still or nobody held a transaction open */
  async shown(): Promise<string | undefined> {
    const before = this.#turned
    const held = await this.#isHeld()
    this.#setBack = await this.#readSetBack()
    // The transaction ended with the server.
    if (!held) await this.#hold()
    this.#turned = await this.#ring()
    return before === this.#turned ? undefined : `, the ring turned, a foreign transaction ${held ? 'lasted' : 'died'}`
  }

  /** Write counts of the positions of all groups: lower than before when a crash has undone some. */
  async versions(): Promise<number> {
    const text = `SELECT sum(newest)::int AS found
      FROM (SELECT max(ver) AS newest FROM concordat.transport_progress GROUP BY grp, part) places`
    return this.#count(text)
  }

  /** Positions of the group that handles parcels with a delivered, unsettled message. */
  async unsettled(): Promise<readonly Unsettled[]> {
    return this.#rows<Unsettled>(`${NEWEST} AND p.settled < p.handed AND p.owner IS NOT NULL`)
  }

  /**
   * Waits until others have settled all positions of a holder that counts as dead, beyond the messages it had received.
   */
  async haveMovedOn(since: readonly Unsettled[]): Promise<boolean> {
    const over = await this.#rows<{ owner: string }>(
      'SELECT owner FROM concordat.transport_session WHERE live_until < clock_timestamp()',
    )
    const now = await this.#rows<Unsettled>(NEWEST)
    const left = since.filter(({ owner }) => over.some((session) => session.owner === owner))
    const isBeyond = (before: Unsettled): boolean =>
      now.some(
        ({ part, owner, settled }) =>
          part === before.part && owner !== before.owner && BigInt(settled) > BigInt(before.handed),
      )
    return left.length > 0 && left.every(isBeyond)
  }

  /** Positions that went backwards, found by the last `shown()`. */
  get setBack(): readonly string[] {
    return this.#setBack
  }

  /** Waits until all sent entries are in the book, or for `withinMs`. Then reads the wrong ones. */
  async booked(withinMs: number): Promise<void> {
    const missing =
      'SELECT count(*)::int AS found FROM faults_sent s WHERE NOT EXISTS (SELECT FROM faults_book b WHERE b.id = s.id)'
    const deadline = performance.now() + withinMs
    while ((await this.#count(missing)) > 0 && performance.now() < deadline) await sleep(100)
    const rows = await this.#rows<{ text: string }>(
      `SELECT format('entry %s is in the book %s times (%s)', coalesce(s.id, b.id), coalesce(b.n, 0), b.by) AS text
       FROM faults_sent s FULL JOIN (
         SELECT id, count(*) AS n, string_agg(process, ', ') AS by FROM faults_book GROUP BY id) b USING (id)
       WHERE s.id IS NULL OR b.n IS DISTINCT FROM 1 LIMIT 50`,
    )
    this.#book = rows.map(({ text }) => text)
  }

  /** Entries that are missing or doubled, found by the last `booked()`. */
  get book(): readonly string[] {
    return this.#book
  }

  /** Processes that wrote an entry. */
  async writersOf(id: string): Promise<readonly string[]> {
    const rows = await this.#rows<{ process: string }>(
      `SELECT process FROM faults_book WHERE id = '${id.replaceAll("'", "''")}'`,
    )
    return rows.map(({ process }) => process)
  }

  /** Counts open transactions other than the one that is open throughout. */
  async transactions(): Promise<number> {
    const text = `SELECT count(*)::int AS found FROM pg_stat_activity
      WHERE state = 'idle in transaction' AND backend_xid IS NOT NULL AND query LIKE '%transport_log%'`
    return this.#count(text)
  }

  async close(): Promise<void> {
    await this.#foreign?.end().catch(() => {})
  }

  /** Opens a transaction with an id of its own and a snapshot from before all later ones. */
  async #hold(): Promise<void> {
    const client = await this.#connect()
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
    await client.query('SELECT pg_current_xact_id()')
    this.#foreign = client
  }

  async #isHeld(): Promise<boolean> {
    return (await this.#foreign?.query('SELECT 1').catch(() => undefined)) !== undefined
  }

  async #ring(): Promise<string> {
    const client = await this.#connect()
    try {
      const { rows } = await client.query<{ since: string }>(
        'SELECT since::text AS since FROM concordat.transport_ring',
      )
      return rows[0]?.since ?? ''
    } finally {
      await client.end()
    }
  }

  async #readSetBack(): Promise<readonly string[]> {
    const rows = await this.#rows<{ text: string }>(
      `SELECT format('%s of group %s wrote %s in partition %s, where %s was settled', owner, grp, settled, part, before) AS text
       FROM faults_set_back ORDER BY grp, part, ver LIMIT 50`,
    )
    return rows.map(({ text }) => text)
  }

  async #count(text: string): Promise<number> {
    return (await this.#rows<{ found: number }>(text))[0]?.found ?? 0
  }

  async #rows<Row extends object>(text: string): Promise<readonly Row[]> {
    const client = await this.#connect()
    try {
      return (await client.query<Row>(text)).rows
    } finally {
      await client.end()
    }
  }

  async #connect(): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: this.#server.url })
    client.on('error', () => {})
    await client.connect()
    return client
  }
}

interface Change {
  readonly of: string
  /** Made first. */
  readonly helper?: string
  readonly lines: ReadonlyArray<readonly [from: string, to: string]>
}

const MISTAKES = {
  'trusts-last': {
    of: 'transport_give_positions',
    lines: [
      [
        'xid >= pg_snapshot_xmax(base)',
        `seq > coalesce((SELECT t.seqs[t.n] FROM concordat.transport_tick t WHERE t.part = p ORDER BY t.first DESC LIMIT 1), 0)`,
      ],
      ['g.part = p AND g.xid = x.x', 'false'],
    ],
  },
  'splits-assign': {
    of: 'transport_give_positions',
    // A volatile function sees commits made since the statement around it began.
    helper: `CREATE FUNCTION concordat.later_snapshot() RETURNS pg_snapshot LANGUAGE plpgsql VOLATILE
      AS $$ BEGIN PERFORM pg_sleep(0.003); RETURN pg_current_snapshot(); END $$`,
    lines: [['SELECT pg_current_snapshot() AS s', 'SELECT concordat.later_snapshot() AS s']],
  },
  // The processes never expire their sessions (`transports.ts`); the server ends them all the same.
  'acks-unfenced': {
    of: 'transport_fetch',
    helper: `CREATE FUNCTION concordat.short_session() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN NEW.live_until := clock_timestamp() + interval '${SESSION_MS} ms'; RETURN NEW; END $$;
      CREATE TRIGGER short_session BEFORE INSERT OR UPDATE ON concordat.transport_session
        FOR EACH ROW EXECUTE FUNCTION concordat.short_session()`,
    lines: [
      ['SELECT g, p, v + 1, e, p_owner', 'SELECT g, p, b.ver + 1, b.epoch, p_owner'],
      [
        'b.ver = v AND b.epoch = e',
        'b.ver = (SELECT max(n.ver) FROM concordat.transport_progress n WHERE n.grp = g AND n.part = p)',
      ],
    ],
  },
  'takes-held': {
    of: 'transport_claim',
    lines: [[`coalesce(s.live_until, '-infinity') < clock_timestamp()`, 'true']],
  },
} as const satisfies Readonly<Record<string, Change>>

async function replaceIn(client: pg.Client, { of, helper, lines }: Change): Promise<void> {
  if (helper !== undefined) await client.query(helper)
  const found = await client.query<{ text: string }>(
    `SELECT pg_get_functiondef(oid) AS text FROM pg_proc WHERE proname = $1 AND pronamespace = 'concordat'::regnamespace`,
    [of],
  )
  let text = found.rows[0]?.text ?? ''
  for (const [from, to] of lines) {
    if (!text.includes(from)) throw new Error(`${of} has no "${from}"`)
    text = text.replace(from, to)
  }
  await client.query(text)
}
