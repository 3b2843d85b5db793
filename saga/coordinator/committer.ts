/**
 * Group commit: transitions that are ready while a commit is under way share the next one. One statement writes all of them, and
 * one their commands; each still succeeds or fails by its own revision.
 *
 * A commit that begins sagas waits for an open transaction that has inserted or deleted a saga with one of their ids, perhaps in
 * a frozen process. While one commit waits, other commits begin sagas or carry other transitions, not both; while two wait, none
 * begins sagas. Transitions that share a commit with such a start wait with it.
 */
import { lastingContext } from '../../core/async-contexts.ts'
import { SECOND } from '../../core/clock.ts'
import { andCommit } from '../../core/commit-with-last-statement.ts'
import { refuseOwnTransaction, type SqlTransaction } from '../../core/sql.ts'
import { writeOutcome } from '../../core/write-fault.ts'
import { addressOf, isChildOf, reportToParent } from '../definition/parent-child-relation.ts'
import type { SagaStore } from '../store/store.ts'
import type { SagaKey, SagaPost, SagaRow, SagaWrite } from '../store/store-types.ts'
import { retryIndividually } from './retry-individually.ts'
import type { CoordinatorRuntime } from './runtime.ts'
import type { Plan } from './write-plan.ts'

interface Waiting {
  readonly plan: Plan
  readonly resolve: (written: boolean) => void
  readonly reject: (error: unknown) => void
}

/** Maximum number of transitions per commit, and of concurrent commits in addition to late ones. */
const MAX_BATCH = 128
const MAX_OPEN = 2
/** Time after which a commit that begins sagas is considered to wait for another transaction. */
const LATE_MS = 0.5 * SECOND

type CommitterRuntime = Pick<CoordinatorRuntime, 'sql' | 'store' | 'outbox' | 'clock'>

export class Committer {
  readonly #runtime: CommitterRuntime
  #waiting: Waiting[] = []
  /** Context of the coordinator's creation, so that a commit does not run in the transaction of one of its callers. */
  readonly #detached: <T>(work: () => T) => T = lastingContext()
  #open = 0
  /** Open commits that begin sagas, and the late ones among them. */
  #beginning = 0
  #late = 0

  constructor(runtime: CommitterRuntime) {
    this.#runtime = runtime
  }

  /**
   * Resolves with true when the transition and its commands are durable; with false when the saga has moved on from the revision
   * of the plan.
   * @throws `core.sql_own_transaction`; an error of the database, after which the transition may have been written
   */
  async commit(plan: Plan): Promise<boolean> {
    refuseOwnTransaction(this.#runtime.sql)
    return new Promise((resolve, reject) => {
      this.#waiting.push({ plan, resolve, reject })
      if (this.#waiting.length === 1 || this.#late > 0) queueMicrotask(() => this.#pump())
    })
  }

  #pump(): void {
    while (this.#open - this.#late < MAX_OPEN) {
      const batch = this.#take()
      if (batch.length === 0) return
      this.#open++
      const watch = batch.some(beginsSagas) ? this.#watch() : undefined
      void this.#detached(() => this.#flush(batch)).finally(() => {
        this.#open--
        watch?.end()
        this.#pump()
      })
    }
  }

  #take(): readonly Waiting[] {
    if (this.#late === 0) return this.#waiting.splice(0, MAX_BATCH)
    const [first] = this.#waiting
    const begins = first !== undefined && beginsSagas(first) && this.#beginning < MAX_OPEN
    const batch = this.#waiting.filter((each) => beginsSagas(each) === begins).slice(0, MAX_BATCH)
    const taken = new Set(batch)
    this.#waiting = this.#waiting.filter((each) => !taken.has(each))
    return batch
  }

  /** Watches until the commit ends whether it is late. */
  #watch(): { end(): void } {
    let isLate = false
    this.#beginning++
    const cancel = this.#runtime.clock.setTimer(LATE_MS, () => {
      isLate = true
      this.#late++
      this.#pump()
    })
    return {
      end: () => {
        cancel()
        this.#beginning--
        if (isLate) this.#late--
      },
    }
  }

  async #flush(batch: readonly Waiting[]): Promise<void> {
    try {
      const written = await this.#commit(batch.map(({ plan }) => plan))
      for (const [index, { resolve }] of batch.entries()) resolve(written.has(index))
    } catch (error) {
      if (batch.length === 1) batch[0]?.reject(error)
      // An unwritable transition must not block the others.
      else await retryIndividually(batch, (one) => this.#flushAlone(one, error))
    }
  }

  /**
   * Writes the transitions one by one after the batch failed. If the batch had no answer it may have been written: transitions
   * that no longer fit then prove nothing.
   */
  async #flushAlone({ plan, resolve, reject }: Waiting, failure: unknown): Promise<void> {
    const written = (await this.#commit([plan])).has(0)
    if (!written && writeOutcome(failure) === 'unknown') reject(failure)
    else resolve(written)
  }

  async #commit(plans: readonly Plan[]): Promise<ReadonlySet<number>> {
    const { sql, store } = this.#runtime
    if (
      plans.every(
        ({ messages, write }) => messages.length === 0 && write.starts === undefined && write.posts === undefined,
      )
    )
      return store.write(sql, plans.map(toWrite))
    return sql.transaction((tx) => writePlans(tx, this.#runtime, plans, andCommit(tx)))
  }
}

/**
 * Writes plans, and the commands of those that fitted, in the caller's transaction.
 * @param last client through which the commands are written
 */
export async function writePlans(
  tx: SqlTransaction,
  { store, outbox }: Pick<CoordinatorRuntime, 'store' | 'outbox'>,
  plans: readonly Plan[],
  last: SqlTransaction = tx,
): Promise<ReadonlySet<number>> {
  await lockAll(tx, store, plans.map(toWrite))
  const written = await store.write(tx, plans.map(toWrite))
  const fitted = plans.flatMap(({ write }, index) => (written.has(index) ? [write] : []))
  const starts = fitted.flatMap((write) => write.starts ?? [])
  if (starts.length > 0) await beginAll(tx, store, starts)
  for (const post of fitted.flatMap((write) => write.posts ?? [])) await deliver(tx, store, post)
  const messages = plans.flatMap((plan, index) => (written.has(index) ? plan.messages : []))
  if (messages.length > 0) await outbox.addEncoded(last, messages)
  return written
}

/** Locks all sagas that others may be writing, in one order, before mail is stored for them or sagas are begun. */
async function lockAll(tx: SqlTransaction, store: SagaStore, writes: readonly SagaWrite[]): Promise<void> {
  const begun = writes.flatMap(({ starts = [] }) => starts.flatMap(({ row, earlier = [] }) => [row, ...earlier]))
  const told = writes.flatMap(({ posts = [] }) => posts.flatMap(whoever))
  if (begun.length + told.length > 0) await store.lock(tx, [...writes.map(({ row }) => row), ...begun, ...told])
}

/** Returns all possible recipients of a post. */
function whoever({ to, otherwise, missing }: SagaPost): readonly SagaKey[] {
  return [to, ...[otherwise, missing].flatMap((post) => (post === undefined ? [] : whoever(post)))]
}

/**
 * Begins the sagas that are steps of others. A saga that already has the id, or an earlier run of the step that was not
 * compensated, is left alone. The parent is notified if that saga belongs to another parent, or has ended: the parent was
 * notified of that end before an operator retried the step.
 */
async function beginAll(tx: SqlTransaction, store: SagaStore, starts: readonly SagaWrite[]): Promise<void> {
  const fresh: SagaWrite[] = []
  for (const start of starts) {
    const run = await runBefore(tx, store, start)
    if (run === undefined) fresh.push(start)
    else await reportAgain(tx, store, run)
  }
  const begun = fresh.length === 0 ? new Set() : await store.write(tx, fresh)
  for (const [index, { row }] of fresh.entries()) {
    const { parent } = row.state
    if (begun.has(index) || parent === undefined) continue
    const known = await store.load(tx, row)
    if (known === undefined) continue
    if (isChildOf(known.state.parent, parent)) {
      await reportAgain(tx, store, known)
      continue
    }
    const message = `the id of the saga ${row.name}/${row.id} is taken by one that is not this step`
    const refused = { ...addressOf(parent), status: 'refused' as const, code: 'saga.conflict', message }
    await store.post(tx, parent, refused)
  }
}

/** Returns the run of the step that is still its current run. */
async function runBefore(
  tx: SqlTransaction,
  store: SagaStore,
  { row, earlier = [] }: SagaWrite,
): Promise<SagaRow | undefined> {
  const { parent } = row.state
  if (parent === undefined) return undefined
  for (const key of earlier) {
    const known = await store.load(tx, key)
    if (known === undefined || !isChildOf(known.state.parent, parent)) continue
    return known.state.status === 'compensated' ? undefined : known
  }
  return undefined
}

async function reportAgain(tx: SqlTransaction, store: SagaStore, { state }: SagaRow): Promise<void> {
  const report = reportToParent(state)
  if (report !== undefined && state.parent !== undefined) await store.post(tx, state.parent, report)
}

async function deliver(tx: SqlTransaction, store: SagaStore, post: SagaPost): Promise<void> {
  const { to, mail, otherwise, missing } = post
  if (await store.post(tx, to, mail)) return
  if (missing === undefined && otherwise === undefined) return
  const of = 'undo' in mail ? mail.of : undefined
  const known = await store.load(tx, to)
  const isThere = known !== undefined && (of === undefined || isChildOf(known.state.parent, of))
  const instead = isThere ? otherwise : missing
  if (instead !== undefined) await deliver(tx, store, instead)
}

function beginsSagas({ plan: { write } }: Waiting): boolean {
  return write.previous === 0 || write.starts !== undefined
}

function toWrite({ write }: Plan): Plan['write'] {
  return write
}
