/** An open transaction, and the piece of work whose turn it is. */
import type { Clock } from '../clock.ts'
import { SqlCommitError, type SqlTransaction } from '../sql.ts'
import { KEEP, type Obstacle, runAll, SavepointScope, TAKE, UNDO } from './savepoint.ts'
import { type BatchingTransaction, NeedsOwnTransaction, StatementBatcher } from './statement-batcher.ts'

/** Calls the work and measures its time, without that of the surrounding transaction. */
export type Timed = <T>(work: () => Promise<T>) => Promise<T>

export interface Piece<Item> {
  readonly item: Item
  readonly alone: (timed: Timed) => Promise<void>
  readonly work: (tx: SqlTransaction) => Promise<void>
  readonly mustBeAlone: boolean
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** `turn`: its turn did not come in time. `slow`: it did not end in time. */
export type PieceEnd =
  | { readonly kind: 'done' }
  | { readonly kind: 'failed'; readonly error: unknown }
  | {
      readonly kind: 'again'
      readonly obstacle?: Obstacle | 'slow' | 'turn' | undefined
      /** The call that is still running. */
      readonly after?: Promise<unknown> | undefined
    }

/** How long a shared transaction accepts new pieces. */
const TURNS_MS = 50
/** How long a piece may delay the commit of the others. */
const HOLD_MS = 250

export class OpenTransaction<Item> {
  readonly #clock: Clock
  readonly #isShared: boolean
  #beganAt: number | undefined
  readonly #giveUps = new Set<() => void>()
  isStuck = false

  constructor(clock: Clock, isShared: boolean) {
    this.#clock = clock
    this.#isShared = isShared
  }

  /** Starts the turn of a piece. @returns its start time */
  begin(): number {
    this.#beganAt = this.#clock.monotonic()
    return this.#beganAt
  }

  end(): void {
    this.#beganAt = undefined
    this.isStuck = false
  }

  look(stuckMs: number): void {
    if (this.#beganAt === undefined) return
    const elapsed = this.#clock.monotonic() - this.#beganAt
    this.isStuck = elapsed > stuckMs
    if (this.#isShared && elapsed > HOLD_MS) for (const giveUp of this.#giveUps) giveUp()
  }

  /**
   * Calls the pieces one after the other, each between two savepoints unless they are trusted; records the outcome of those that
   * are not done.
   * @throws Error if a trusted piece has to be undone: nothing of any piece may be committed
   */
  async take(
    tx: SqlTransaction,
    pieces: readonly Piece<Item>[],
    { ends, took, ran, areTrusted }: Taking<Item>,
  ): Promise<void> {
    const points = areTrusted ? NO_POINTS : savepointsOf(tx)
    const startedAt = this.#clock.monotonic()
    let isTaken = false
    for (const piece of pieces) {
      if (this.#clock.monotonic() - startedAt > TURNS_MS) {
        ends.set(piece, { kind: 'again', obstacle: 'turn' })
        continue
      }
      if (!isTaken) await points.take()
      const beganAt = this.begin()
      const scope = new SavepointScope(tx)
      const end = await this.#call({ points, scope, piece, note: (late) => ends.set(piece, late) })
      this.end()
      took(this.#clock.monotonic() - beganAt)
      ran(scope.isSingle)
      if (end.kind !== 'done') ends.set(piece, end)
      isTaken = piece !== pieces.at(-1)
      await (isTaken ? points.next() : points.keep())
    }
  }

  /**
   * Calls all of them at once, without savepoints. Each may have one statement, with which it ends, so that the effect is as if
   * they came one after the other.
   * @throws Error as `take`; only calls of pieces that are `slow` are then still running
   */
  async takeTogether(
    tx: BatchingTransaction,
    pieces: readonly Piece<Item>[],
    { ends, ran }: Pick<Taking<Item>, 'ends' | 'ran'>,
  ): Promise<void> {
    const together = new StatementBatcher(tx)
    this.begin()
    const calls = pieces.map(async (piece) => {
      const scope = new SavepointScope(tx, together)
      const end = await this.#call({ points: NO_POINTS, scope, piece, note: (late) => ends.set(piece, late) })
      ran(scope.isSingle)
      if (end.kind !== 'done') ends.set(piece, end)
    })
    const ended = await Promise.allSettled(calls)
    await together.answered()
    this.end()
    for (const call of ended) if (call.status === 'rejected') throw call.reason
  }

  /** Afterwards the savepoint exists, and nothing of the piece beyond it unless it is done. */
  async #call({ points, scope, piece, note }: Call<Item>): Promise<PieceEnd> {
    const given = Promise.withResolvers<'late'>()
    const giveUp = (): void => given.resolve('late')
    this.#giveUps.add(giveUp)
    const work = this.#isolated(piece, scope)
    const end = await Promise.race([work, given.promise])
    this.#giveUps.delete(giveUp)
    scope.close()
    if (end !== 'late' && end.kind === 'done' && scope.obstacle === undefined) {
      if (scope.failures.length === 0 || !(await scope.isAborted())) {
        scope.join()
        return end
      }
    }
    const { obstacle } = scope
    const again: PieceEnd | undefined =
      end === 'late' ? { kind: 'again', obstacle: 'slow', after: work } : obstacle && { kind: 'again', obstacle }
    if (again !== undefined) note(again)
    await points.undo(scope)
    if (again !== undefined || end === 'late') return again as PieceEnd
    // A statement failed, and its error was caught.
    return end.kind === 'done' ? { kind: 'failed', error: new SqlCommitError(scope.failures) } : end
  }

  #isolated(piece: Piece<Item>, scope: SavepointScope): Promise<Exclude<PieceEnd, { kind: 'again' }>> {
    return Promise.resolve()
      .then(() => piece.work(scope.tx))
      .then(
        () => ({ kind: 'done' as const }),
        (error: unknown) => ({ kind: 'failed' as const, error }),
      )
  }
}

interface Call<Item> {
  readonly points: Savepoints
  readonly scope: SavepointScope
  readonly piece: Piece<Item>
  /** Called before anything else can fail, so that the piece is called again however the transaction ends. */
  readonly note: (end: PieceEnd) => void
}

interface Taking<Item> {
  readonly ends: Map<Piece<Item>, PieceEnd>
  readonly took: (ms: number) => void
  /** Tells whether a piece had at most one statement, with which it ended. */
  readonly ran: (isSingle: boolean) => void
  /** No savepoints: if one of them has to be undone, all are. */
  readonly areTrusted: boolean
}

/** Statements between two pieces. */
interface Savepoints {
  take(): Promise<unknown>
  next(): Promise<unknown>
  keep(): Promise<unknown>
  undo(of: SavepointScope): Promise<unknown>
}

function savepointsOf(tx: SqlTransaction): Savepoints {
  return {
    take: () => tx.query(TAKE),
    next: () => runAll(tx, KEEP, TAKE),
    keep: () => tx.query(KEEP),
    undo: () => tx.query(UNDO),
  }
}

const NOTHING = (): Promise<void> => Promise.resolve()
const NO_POINTS: Savepoints = {
  take: NOTHING,
  next: NOTHING,
  keep: NOTHING,
  // A piece without statements has left nothing to undo.
  undo: async ({ statements }) => {
    if (statements > 0) throw new NeedsOwnTransaction()
  },
}
