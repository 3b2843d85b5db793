import { originalText, storableText } from '../../core/escape-nul.ts'
import { NOW } from '../../core/sql-function-snippets.ts'
import type { StoreStatementRunner } from '../../core/store-statement-runner.ts'
import type { ForcedRelease, ForceOptions, LockInfo, LockMode } from '../lock.ts'
import type { HolderChanged, ListRequest, LockOperator } from '../store.ts'
import { ENDLESS } from './functions.ts'
import { requireShort } from './key-length.ts'
import type { WaiterWakeups } from './waiter-wakeups.ts'

interface SeenRow {
  readonly key: string
  readonly holders: readonly HolderRow[]
  readonly waiters: readonly Terms[]
}

interface Terms {
  readonly owner: string
  readonly shared: boolean
  readonly most: string
}

interface HolderRow extends Terms {
  readonly token: string
  readonly sinceAt: number
  readonly freesInMs: number
  readonly delayMs: number
}

interface AuditRow {
  readonly at: string
  readonly token: string
  readonly mark: ForceOptions
  readonly ended: ReadonlyArray<{ readonly owner: string; readonly token: string; readonly shared: boolean }>
}

interface ForcedRow extends AuditRow {
  readonly calls: readonly string[]
  /** Owners of the leases that have other tokens; if there are any, nothing was changed. */
  readonly others: readonly string[] | null
}

/** Calls of operators. */
export class PostgresOperator implements LockOperator {
  readonly #steps: StoreStatementRunner
  readonly #turns: WaiterWakeups
  readonly #statements: ReturnType<typeof statementsOf>

  constructor(fields: { steps: StoreStatementRunner; turns: WaiterWakeups; schema: string }) {
    this.#steps = fields.steps
    this.#turns = fields.turns
    this.#statements = statementsOf(fields.schema)
  }

  async inspect(key: string): Promise<LockInfo | undefined> {
    const [row] = await this.#steps.run<SeenRow>(this.#statements.inspect, [storableText(key)])
    if (row === undefined || row.holders.length + row.waiters.length === 0) return undefined
    return infoOf(row)
  }

  async list({ limit, prefix, signal }: ListRequest): Promise<readonly LockInfo[]> {
    const rows = await this.#steps.run<SeenRow>(this.#statements.list, [storableText(prefix), limit])
    signal?.throwIfAborted()
    return rows.map(infoOf)
  }

  async forceRelease(
    key: string,
    force: ForceOptions,
    tokenFloor: number,
    tokens?: readonly number[],
  ): Promise<ForcedRelease | HolderChanged> {
    requireShort(key)
    const mark = JSON.stringify({ by: force.by, reason: force.reason })
    const [row] = await this.#steps.run<ForcedRow>(this.#statements.force, [
      storableText(key),
      this.#turns.home.id,
      String(tokenFloor),
      mark,
      tokens?.map(String) ?? null,
    ])
    const forced = row as ForcedRow
    if (forced.others !== null) return { others: forced.others.map(originalText) }
    for (const each of forced.calls) this.#turns.wake(each)
    return entryOf(key, { ...forced, mark: force })
  }

  async audit(key: string): Promise<readonly ForcedRelease[]> {
    const rows = await this.#steps.run<AuditRow>(this.#statements.audit, [storableText(key)])
    return rows.map((row) => entryOf(key, row))
  }
}

function infoOf({ key, holders, waiters }: SeenRow): LockInfo {
  return {
    key: originalText(key),
    holders: holders.map((holder) => ({
      ...termsOf(holder),
      token: Number(holder.token),
      sinceAt: holder.sinceAt,
      expiresInMs: Math.max(0, holder.freesInMs - holder.delayMs),
      freesInMs: holder.freesInMs,
    })),
    waiters: waiters.map(termsOf),
  }
}

function termsOf({ owner, shared, most }: Terms) {
  const permits = !shared || most === ENDLESS ? undefined : Number(most)
  return { owner: originalText(owner), mode: modeOf(shared), permits }
}

function modeOf(shared: boolean): LockMode {
  return shared ? 'shared' : 'exclusive'
}

function entryOf(key: string, { at, token, mark, ended }: AuditRow): ForcedRelease {
  return {
    key,
    by: mark.by,
    reason: mark.reason,
    at: Number(at),
    token: Number(token),
    ended: ended.map((each) => ({
      owner: originalText(each.owner),
      token: Number(each.token),
      mode: modeOf(each.shared),
    })),
  }
}

/** Statements that return lists as JSON. Numbers beyond 2^53 are text there. */
function statementsOf(schema: string) {
  const seen = `coalesce((
      SELECT json_agg(json_build_object('owner', h.owner, 'shared', h.shared, 'most', h.most::text, 'token', h.token::text,
          'sinceAt', h.since_us / 1000, 'freesInMs', (h.frees_us - now.us + 999) / 1000, 'delayMs', h.delay_ms) ORDER BY h.token)
      FROM (
        SELECT k.owner, false AS shared, 1::bigint AS most, k.token, k.since_us, k.frees_us, k.delay_ms WHERE k.value IS NOT NULL
        UNION ALL SELECT owner, true, most, token, since_us, frees_us, delay_ms FROM ${schema}.lock_holder s WHERE s.key = k.key
      ) h WHERE h.frees_us > now.us), '[]') AS holders,
    coalesce((
      SELECT json_agg(json_build_object('owner', w.owner, 'shared', w.shared, 'most', w.most::text) ORDER BY w.place)
      FROM ${schema}.lock_waiter w WHERE w.key = k.key AND w.kept_us > now.us), '[]') AS waiters`
  return {
    inspect: `SELECT k.key, ${seen} FROM ${schema}.lock_key k, (SELECT ${NOW} AS us) AS now WHERE k.key = $1`,
    list: `SELECT k.key, ${seen} FROM ${schema}.lock_key k, (SELECT ${NOW} AS us) AS now
      WHERE starts_with(k.key, $1) AND (k.value IS NOT NULL AND k.frees_us > now.us
        OR EXISTS (SELECT FROM ${schema}.lock_holder s WHERE s.key = k.key AND s.frees_us > now.us))
      LIMIT $2`,
    force: `SELECT (at_us / 1000)::text AS at, raised::text AS token, ended, calls, others
      FROM ${schema}.lock_force($1, $2, $3::bigint, $4, $5::bigint[])`,
    audit: `SELECT (at_us / 1000)::text AS at, token::text AS token, mark, ended FROM ${schema}.lock_audit WHERE key = $1 ORDER BY entry`,
  }
}
