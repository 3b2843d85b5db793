import { originalText, storableText } from '../../core/escape-nul.ts'
import { randomId } from '../../core/random-id.ts'
import type { StoreStatementRunner } from '../../core/store-statement-runner.ts'
import { LockError } from '../errors.ts'
import type { ForceOptions, LockInfo } from '../lock.ts'
import type { AcquireReply, AcquireRequest, Claim, LockStore, NotHeld } from '../store.ts'
import { requireShort } from './key-length.ts'
import { PostgresOperator } from './operator.ts'
import type { WaiterWakeups } from './waiter-wakeups.ts'

/** Number of other holders that a reader accepts: `ENDLESS` of the functions. */
const ENDLESS = '9223372036854775807'

interface AcquireRow {
  readonly status: 'granted' | 'busy' | 'given up'
  readonly granted: string | null
  readonly retry_us: string | null
  readonly ahead: number | null
  readonly obstacle: string | null
  readonly calls: string | null
}

interface LeaveRow {
  readonly done: boolean
  readonly mark: ForceOptions | null
  readonly calls: string | null
}

/** The lock store on PostgreSQL or PGlite: each step is one call of a function, see `functions.ts`. */
export class PostgresLockStore implements LockStore {
  readonly name = 'postgres'
  readonly features = { fifo: true, shared: true, lockDelay: true } as const
  readonly operator: PostgresOperator
  readonly #steps: StoreStatementRunner
  readonly #turns: WaiterWakeups
  readonly #upkeep: () => void
  readonly #ready: () => Promise<unknown> | undefined
  readonly #doubts: Array<(value: string | undefined) => void> = []
  readonly #text: ReturnType<typeof texts>

  /** @param fields.ready runs once before the first step; returns `undefined` when it is done */
  constructor(fields: {
    steps: StoreStatementRunner
    turns: (onUnclaimed: (value: string, key: string | undefined) => void) => WaiterWakeups
    schema: string
    upkeep: () => void
    ready: () => Promise<unknown> | undefined
  }) {
    this.#steps = fields.steps
    this.#upkeep = fields.upkeep
    this.#ready = fields.ready
    this.#text = texts(fields.schema)
    this.#turns = fields.turns((value, key) => {
      // Either a waiter that gave up, whose turn goes to the next, or a holder whose lease was ended.
      this.#doubt(value)
      if (key !== undefined) this.#abandon(key, value, 0, false).catch(() => {})
    })
    this.operator = new PostgresOperator({ ...fields, turns: this.#turns })
    fields.steps.onBack(() => this.#doubt(undefined))
  }

  newValue(): string {
    return `${this.#turns.client}.${randomId()}`
  }

  async acquire(claim: Claim, request: AcquireRequest): Promise<AcquireReply> {
    const { key, value, owner, mode, limit, lockDelayMs } = claim
    requireShort(key)
    await this.#ready()
    const keepsPlace = request.keepPlaceMs > 0
    const row = await this.#one<AcquireRow>(this.#text.acquire, [
      storableText(key),
      value,
      this.#turns.client,
      this.#turns.home.id,
      storableText(owner),
      mode === 'shared',
      limit === Number.POSITIVE_INFINITY ? ENDLESS : String(limit),
      String(request.ttlMs),
      lockDelayMs,
      String(request.tokenFloor),
      String(request.keepPlaceMs),
      request.handOver === true,
    ])
    this.#turns.wake(row.calls)
    if (row.status === 'granted') {
      this.#upkeep()
      return { status: 'granted', token: tokenOf(row.granted) }
    }
    if (row.status === 'given up') {
      throw new LockError('locks.store_unavailable', {
        store: 'postgres',
        outcome: 'not_done',
        detail: 'this acquisition was given up before',
      })
    }
    if (keepsPlace) this.#turns.placed(key, value)
    return {
      status: 'busy',
      retryAfterMs: Math.ceil(Number(row.retry_us) / 1_000),
      position: row.ahead ?? undefined,
      owner: row.obstacle === null ? undefined : originalText(row.obstacle),
      ...(keepsPlace ? { lastToken: tokenOf(row.granted) } : {}),
    }
  }

  async extend(claim: Claim, ttlMs: number): Promise<'extended' | NotHeld> {
    const row = await this.#one<LeaveRow>(this.#text.extend, [
      storableText(claim.key),
      claim.value,
      claim.mode === 'shared',
      String(ttlMs + claim.lockDelayMs),
    ])
    return row.done ? 'extended' : notHeld(row)
  }

  async release(claim: Claim, forgetAfterMs: number): Promise<'released' | NotHeld> {
    this.#turns.forget(claim.value)
    const row = await this.#one<LeaveRow>(this.#text.release, [
      storableText(claim.key),
      claim.value,
      this.#turns.home.id,
      claim.mode === 'shared',
      String(forgetAfterMs),
    ])
    this.#turns.wake(row.calls)
    return row.done ? 'released' : notHeld(row)
  }

  async abandon(claim: Claim, forgetAfterMs: number): Promise<void> {
    this.#turns.forget(claim.value)
    await this.#abandon(claim.key, claim.value, forgetAfterMs, true)
  }

  async listen(value: string, onTurn: (token?: number) => void): Promise<() => void> {
    await this.#ready()
    return this.#turns.listen(value, onTurn)
  }

  inspect(key: string): Promise<LockInfo | undefined> {
    return this.operator.inspect(key)
  }

  onDoubt(listener: (value: string | undefined) => void): void {
    this.#doubts.push(listener)
  }

  health(): { readonly status: 'up' | 'down' | 'idle'; readonly detail?: string } {
    return this.#steps.health()
  }

  async close(): Promise<void> {
    this.#turns.close()
    this.#steps.close()
  }

  #doubt(value: string | undefined): void {
    for (const listener of this.#doubts) listener(value)
  }

  async #abandon(key: string, value: string, forgetAfterMs: number, free: boolean): Promise<void> {
    const { calls } = await this.#one<Pick<LeaveRow, 'calls'>>(this.#text.abandon, [
      storableText(key),
      value,
      this.#turns.home.id,
      String(forgetAfterMs),
      free,
    ])
    this.#turns.wake(calls)
  }

  async #one<Row extends object>(text: string, parameters: readonly unknown[]): Promise<Row> {
    const [row] = await this.#steps.run<Row>(text, parameters)
    return row as Row
  }
}

function texts(schema: string) {
  return {
    acquire: `SELECT status, granted::text AS granted, retry_us::text AS retry_us, ahead, obstacle, calls
      FROM ${schema}.lock_acquire($1, $2, $3, $4, $5, $6, $7::bigint, $8::bigint, $9, $10::bigint, $11::bigint, $12)`,
    extend: `SELECT done, mark FROM ${schema}.lock_extend($1, $2, $3, $4::bigint)`,
    release: `SELECT done, mark, calls FROM ${schema}.lock_release($1, $2, $3, $4, $5::bigint)`,
    abandon: `SELECT calls FROM ${schema}.lock_abandon($1, $2, $3, $4::bigint, $5)`,
  }
}

function notHeld({ mark }: LeaveRow): NotHeld {
  return mark === null ? 'lost' : { forced: mark }
}

function tokenOf(text: string | null): number {
  const token = Number(text)
  if (Number.isSafeInteger(token)) return token
  throw new LockError(
    'locks.store_refused',
    { store: 'postgres' },
    new Error(`the counter of tokens is beyond what numbers can tell apart: ${text}`),
  )
}
