/**
 * Group commit for work that is not ours: pieces of work that wait for a transaction while others are open share the next
 * one. Each stands between two savepoints, one after the other; what fails is rolled back to its savepoint, the others
 * commit. A piece alone has a transaction of its own, without savepoints.
 *
 *   waiting -> alone                                   -> done | failed
 *           -> shared: savepoint, work, release        -> done with the commit | failed
 *                      the others in the way, too slow,
 *                      beyond a savepoint, no commit    -> waiting, alone
 *
 * Once many have worked without a failure the savepoints are left out. When one of these has to be undone, the transaction is
 * rolled back and each is called again alone; until as many have worked again, and twice as many each time, there are savepoints.
 *
 * Once many have ended with their one statement, and the driver can send several, those without savepoints are called at once and
 * their statements are one round trip (`statement-batcher.ts`). One that wants more has all of them called again alone.
 *
 * So a piece of work may be called twice, also without a failure of its own. What the first call did through its
 * transaction is undone; whatever else it did is done again, as after a crash. Never are two calls of a piece under way at
 * once, and no call begins after the piece has an outcome.
 *
 * A commit without an answer rejects all that shared it: they may or may not be done.
 *
 * No shared transaction waits for a lock for longer than `LOCK_MS`: it holds locks of several pieces, so two of them could
 * wait in a circle. A piece that meets this is called again in a transaction of its own.
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
  /** Before the first one. @returns of each, whether its work is to be called; one that is not is done already */
  open?(tx: SqlTransaction, items: readonly Item[]): Promise<readonly boolean[]>
  /** After the last one: `done` were called and worked, nothing may stay of `undone`. May end with what commits (`andCommit`). */
  close?(tx: SqlTransaction, done: readonly Item[], undone: readonly Item[]): Promise<void>
  /** Two with one name never share a transaction. @default all may */
  nameOf?(item: Item): string
  /** True: its pieces are statements of this package alone. Those of others may call functions that make settings. */
  readonly isOurs?: boolean
}

/** The members of a client that are used here. */
export type SharingClient = Pick<SqlClient, 'transaction' | 'connections' | 'isInTransaction' | 'exclusive'>

const LOCK_MS = 100
/** With a parameter: so it goes out together with the `BEGIN`. */
const LIMIT_LOCKS = `SELECT set_config('lock_timeout', $1, true)`
/** A piece that is at work for so long does not count as using a transaction: others get another one. */
const STUCK_MS = 25
/** How often is looked for those. */
const LOOK_MS = 25
/** Where the client does not say how many connections it has. */
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
   * Calls `work` in a transaction, with the caller's context around it, and resolves after the commit.
   * @param alone the same in a transaction of its own, with what it is given around the call
   * @param work gets a transaction that ends with the call
   * @throws what `work` or the commit throws
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
      // A database that is away is away for each of them.
      if (!hasBegun) for (const piece of pieces) ends.set(piece, { kind: 'done' })
      if (!hasBegun || (isWhole && !isRolledBack(error))) return this.#reject(pieces, ends, error)
      if (pieces.length > 1 && !wantedSeveral(ends)) this.#pace.failed()
      // A failure, too, may rest on what another piece wrote.
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
    // On a database with one connection, which only this process uses, no other transaction is open that could hold a lock.
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

  /** Settles the pieces; the transaction of those without an end did not begin. */
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

  /** The commit has no answer. What was not part of it has its own. */
  #reject(pieces: readonly Piece<Item>[], ends: Map<Piece<Item>, PieceEnd>, error: unknown): void {
    for (const piece of pieces) if (ends.get(piece)?.kind === 'done') ends.set(piece, { kind: 'failed', error })
    this.#settle(pieces, ends)
  }

  /** While transactions are open: work that takes long must not keep others waiting. */
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

/** The server says so; anything else may be a commit. */
function isRolledBack(error: unknown): boolean {
  return writeOutcome(error) !== 'unknown'
}

function wantedSeveral(ends: ReadonlyMap<unknown, PieceEnd>): boolean {
  return [...ends.values()].some((end) => end.kind === 'again' && end.obstacle === 'several')
}
