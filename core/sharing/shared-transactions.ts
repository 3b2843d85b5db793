/**
 * Group commit for work that is not ours: pieces of work that wait for a transaction while others are open share the next one.
 * Each runs between two savepoints, one after the other; a failed piece is rolled back to its savepoint, the others commit. A
 * single piece has its own transaction, without savepoints.
 *
 *   waiting -> alone                                   -> done | failed
 *           -> shared: savepoint, work, release        -> done with the commit | failed
 *                      conflict with others, too slow,
 *                      beyond a savepoint, no commit    -> waiting, alone
 *
 * Once many pieces have succeeded in a row, the savepoints are left out. If one of these pieces has to be undone, the transaction
 * is rolled back and each piece is called again alone; savepoints are then used until as many have succeeded again, and twice as
 * many each time.
 *
 * Once many pieces have ended with their one statement, and the driver can send several, the pieces without savepoints are called
 * at once and their statements share one round trip (`statement-batcher.ts`). If one of them sends a second statement, all are
 * called again alone.
 *
 * So a piece of work may be called twice, even without a failure of its own. The effect of the first call through its transaction
 * is undone; all its other effects are repeated, as after a crash. Two calls of a piece never run at the same time, and no call
 * starts after the piece has an outcome.
 *
 * A commit without a response rejects all pieces that shared it: they may or may not be done.
 *
 * No shared transaction waits for a lock longer than `LOCK_MS`: it holds locks of several pieces, so two of them could wait in a
 * circle. A piece that runs into this is called again in its own transaction.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { lastingContext } from '../async-contexts.ts'
import type { Clock } from '../clock.ts'
import type { SqlClient, SqlTransaction } from '../sql.ts'
import { writeOutcome } from '../write-fault.ts'
import { SettingFunctions } from './find-setting-functions.ts'
import { OpenTransaction, type Piece, type PieceEnd, type Timed } from './open-transaction.ts'
import { PiecesAwaitingTransaction } from './pieces-awaiting-transaction.ts'
import { SharingPolicy } from './sharing-policy.ts'
import { canBatch, NeedsOwnTransaction } from './statement-batcher.ts'

/** Work for all pieces of a shared transaction, in one statement each. */
export interface ShareHost<Item> {
  /** Runs before the first piece. @returns for each piece, whether its work is to be called; otherwise it is already done */
  open?(tx: SqlTransaction, items: readonly Item[]): Promise<readonly boolean[]>
  /**
   * Runs after the last piece: `done` were called and succeeded; nothing of `undone` may remain. May end with the commit
   * (`andCommit`).
   */
  close?(tx: SqlTransaction, done: readonly Item[], undone: readonly Item[]): Promise<void>
  /** Two pieces with the same name never share a transaction. @default all may */
  nameOf?(item: Item): string
  /** True if its pieces only contain statements of this package. Those of others may call functions that change settings. */
  readonly isOurs?: boolean
}

/** The members of a client that are used here. */
export type SharingClient = Pick<SqlClient, 'transaction' | 'connections' | 'isInTransaction' | 'exclusive'>

const LOCK_MS = 100
/** Has a parameter so that it is sent together with the `BEGIN`. */
const LIMIT_LOCKS = `SELECT set_config('lock_timeout', $1, true)`
/** A piece that runs this long does not count as using a transaction: others get another one. */
const STUCK_MS = 25
/** Interval of the check for such pieces. */
const LOOK_MS = 25
/** Used if the client does not report its number of connections. */
const CONNECTIONS = 10

export class SharedTransactions<Item> {
  readonly #sql: SharingClient
  readonly #clock: Clock
  readonly #host: ShareHost<Item>
  readonly #pace = new SharingPolicy()
  readonly #setting: SettingFunctions
  readonly #run = lastingContext()
  readonly #open = new Set<OpenTransaction<Item>>()
  readonly #waiting: PiecesAwaitingTransaction<Item>
  #isPumping = false
  #looking: (() => void) | undefined

  constructor(sql: SharingClient, clock: Clock, host: ShareHost<Item> = {}) {
    this.#sql = sql
    this.#clock = clock
    this.#host = host
    this.#setting = new SettingFunctions(clock)
    this.#waiting = new PiecesAwaitingTransaction(host.nameOf?.bind(host))
  }

  /**
   * Calls `work` in a transaction, in the caller's context, and resolves after the commit.
   * @param alone the same in its own transaction, including what is passed to the call
   * @param work receives a transaction that ends with the call
   * @throws the errors of `work` or the commit
   */
  run(item: Item, alone: Piece<Item>['alone'], work: (tx: SqlTransaction) => Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      const inContext = AsyncLocalStorage.snapshot()
      const piece: Piece<Item> = {
        item,
        alone: (timed) => inContext(() => alone(timed)),
        work: (tx) => inContext(() => (tx.within === undefined ? work(tx) : tx.within(() => work(tx)))),
        mustBeAlone: false,
        resolve,
        reject,
      }
      this.#wait([piece])
    })
  }

  #wait(pieces: readonly Piece<Item>[]): void {
    for (const piece of pieces) this.#waiting.push(piece)
    if (this.#isPumping) return
    this.#isPumping = true
    // Pieces added in the same turn belong together.
    queueMicrotask(() => {
      this.#isPumping = false
      this.#pump()
    })
  }

  #pump(): void {
    for (;;) {
      const waiting = this.#waiting.length
      if (waiting === 0) break
      const free = this.#pace.transactions(waiting, this.#connections) - this.#busyCount()
      if (free <= 0) break
      const pieces = this.#waiting.take(this.#pace.share(waiting, free, this.#clock.monotonic()))
      const transaction = new OpenTransaction<Item>(this.#clock, pieces.length > 1)
      this.#open.add(transaction)
      void this.#run(() => this.#serve(transaction, pieces)).finally(() => {
        this.#open.delete(transaction)
        this.#pump()
      })
    }
    if (this.#open.size > 0) this.#look()
  }

  get #connections(): number {
    return this.#sql.connections ?? (this.#sql.isInTransaction === undefined ? CONNECTIONS : 1)
  }

  #busyCount(): number {
    let busy = 0
    for (const transaction of this.#open) if (!transaction.isStuck) busy++
    return busy
  }

  /** Never rejects. */
  async #serve(transaction: OpenTransaction<Item>, pieces: readonly Piece<Item>[]): Promise<void> {
    const [only] = pieces
    if (pieces.length === 1 && only !== undefined) return this.#serveAlone(transaction, only)
    const ends = new Map<Piece<Item>, PieceEnd>()
    let hasBegun = false
    let isWhole = false
    try {
      await this.#sql.transaction(async (tx) => {
        hasBegun = true
        await this.#share(
          withLast(tx, () => (isWhole = true)),
          transaction,
          pieces,
          ends,
        )
        isWhole = true
      })
      this.#settle(pieces, ends)
    } catch (error) {
      // An unavailable database is unavailable for each of them.
      if (!hasBegun) for (const piece of pieces) ends.set(piece, { kind: 'done' })
      if (!hasBegun || (isWhole && !isRolledBack(error))) return this.#reject(pieces, ends, error)
      if (pieces.length > 1 && !wantedSeveral(ends)) this.#pace.failed()
      // A failure, too, may depend on something that another piece wrote.
      for (const [piece, end] of ends) if (end.kind !== 'again') ends.set(piece, { kind: 'again' })
      this.#settle(pieces, ends)
    }
  }

  async #serveAlone(transaction: OpenTransaction<Item>, { alone, resolve, reject }: Piece<Item>): Promise<void> {
    const timed: Timed = async (work) => {
      const beganAt = transaction.begin()
      try {
        return await work()
      } finally {
        transaction.end()
        this.#pace.took(this.#clock.monotonic() - beganAt)
      }
    }
    try {
      await alone(timed)
      resolve()
    } catch (error) {
      reject(error)
    }
  }

  async #share(
    tx: SqlTransaction,
    transaction: OpenTransaction<Item>,
    pieces: readonly Piece<Item>[],
    ends: Map<Piece<Item>, PieceEnd>,
  ): Promise<void> {
    // On a database with one connection, used only by this process, no other transaction is open that could hold a lock.
    if (this.#sql.exclusive === undefined) await tx.query(LIMIT_LOCKS, [`${LOCK_MS}`])
    if (this.#host.isOurs !== true && (await this.#setting.exist(tx))) {
      for (const piece of pieces) ends.set(piece, { kind: 'again', obstacle: 'beyond' })
      throw new NeedsOwnTransaction()
    }
    const isCalled = await this.#host.open?.(
      tx,
      pieces.map(({ item }) => item),
    )
    const called = pieces.filter((_, i) => isCalled?.[i] ?? true)
    for (const piece of pieces) ends.set(piece, { kind: 'done' })
    const { isTrusted, mayGoTogether } = this.#pace
    const ran = (isSingle: boolean): void => this.#pace.ran(isSingle)
    const took = (ms: number): void => this.#pace.took(ms)
    if (mayGoTogether && canBatch(tx)) await transaction.takeTogether(tx, called, { ends, ran })
    else await transaction.take(tx, called, { ends, took, ran, areTrusted: isTrusted })
    const isDone = (piece: Piece<Item>): boolean => ends.get(piece)?.kind === 'done'
    await this.#host.close?.(
      tx,
      called.filter(isDone).map(({ item }) => item),
      called.filter((piece) => !isDone(piece)).map(({ item }) => item),
    )
  }

  /** Settles the pieces; for pieces without an end, the transaction did not begin. */
  #settle(pieces: readonly Piece<Item>[], ends: ReadonlyMap<Piece<Item>, PieceEnd>): void {
    for (const piece of pieces) {
      const end = ends.get(piece) ?? { kind: 'again' }
      if (end.kind === 'done') {
        this.#pace.shared()
        piece.resolve()
      } else if (end.kind === 'failed') {
        this.#pace.failed()
        piece.reject(end.error)
      } else this.#again(piece, end)
    }
  }

  #again(piece: Piece<Item>, end: Extract<PieceEnd, { kind: 'again' }>): void {
    if (end.obstacle === 'beyond') this.#pace.endSharing()
    else if (end.obstacle === 'several') this.#pace.several()
    else if (end.obstacle === 'conflict' || end.obstacle === 'slow') this.#pace.conflicted(this.#clock.monotonic())
    const next = { ...piece, mustBeAlone: end.obstacle !== 'turn' }
    if (end.after === undefined) this.#wait([next])
    else void end.after.then(() => this.#wait([next]))
  }

  /** The commit has no response. Pieces that were not part of it have their own outcome. */
  #reject(pieces: readonly Piece<Item>[], ends: Map<Piece<Item>, PieceEnd>, error: unknown): void {
    for (const piece of pieces) if (ends.get(piece)?.kind === 'done') ends.set(piece, { kind: 'failed', error })
    this.#settle(pieces, ends)
  }

  /** Runs while transactions are open: long work must not keep others waiting. */
  #look(): void {
    if (this.#looking !== undefined) return
    this.#looking = this.#clock.setTimer(LOOK_MS, () => {
      this.#looking = undefined
      for (const transaction of this.#open) transaction.look(STUCK_MS)
      this.#pump()
    })
  }
}

/** @param last called before the statement with which the transaction commits */
function withLast(tx: SqlTransaction, last: () => void): SqlTransaction {
  if (tx.last === undefined) return tx
  const commit = tx.last
  return {
    ...tx,
    last: (text, parameters) => {
      last()
      return commit(text, parameters)
    },
  }
}

/** True if the server reported the rollback; any other error may hide a commit. */
function isRolledBack(error: unknown): boolean {
  return writeOutcome(error) !== 'unknown'
}

function wantedSeveral(ends: ReadonlyMap<unknown, PieceEnd>): boolean {
  return [...ends.values()].some((end) => end.kind === 'again' && end.obstacle === 'several')
}
