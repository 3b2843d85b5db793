/** One open transaction, and the piece of work that has its turn in it. */
import type { Clock } from '../clock.ts'
import { SqlCommitError, type SqlTransaction } from '../sql.ts'
import { KEEP, NeedsOwnTransaction, type Obstacle, runAll, SavepointScope, TAKE, UNDO } from './savepoint.ts'

/** Calls the work and takes its time, without that of the transaction around it. */
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
      /** The call that is still under way. */
      readonly after?: Promise<unknown> | undefined
    }

/** So long a shared transaction takes new pieces on. */
const TURNS_MS = 50
/** So long a piece may hold up the commit of the others. */
const HOLD_MS = 250

export class OpenTransaction<Item> {
  readonly #clock: Clock
  readonly #isShared: boolean
  #beganAt: number | undefined
  #giveUp: (() => void) | undefined
  isStuck = false

  constructor(clock: Clock, isShared: boolean) {
    this.#clock = clock
    this.#isShared = isShared
  }

  /** A piece has its turn. @returns since when */
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
    if (this.#isShared && elapsed > HOLD_MS) this.#giveUp?.()
  }

  /**
   * Calls the pieces one after the other, each between two savepoints, unless they are trusted; writes down what became of those
   * that are not done.
   * @throws Error when one that was trusted has to be undone: nothing of any may be committed
   */
  async take(
    tx: SqlTransaction,
    pieces: readonly Piece<Item>[],
    { ends, took, areTrusted }: Taking<Item>,
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
      const end = await this.#call(tx, points, piece, (late) => ends.set(piece, late))
      this.end()
      took(this.#clock.monotonic() - beganAt)
      if (end.kind !== 'done') ends.set(piece, end)
      isTaken = piece !== pieces.at(-1)
      await (isTaken ? points.next() : points.keep())
    }
  }

  /**
   * Afterwards the savepoint is there, and nothing of the piece beyond it unless it is done.
   * @param note told of what calls it again, before anything else can fail: however the transaction ends, that is so
   */
  async #call(
    tx: SqlTransaction,
    points: Savepoints,
    piece: Piece<Item>,
    note: (end: PieceEnd) => void,
  ): Promise<PieceEnd> {
    const scope = new SavepointScope(tx)
    const given = new Promise<'late'>((resolve) => (this.#giveUp = () => resolve('late')))
    const work = this.#isolated(piece, scope)
    const end = await Promise.race([work, given])
    this.#giveUp = undefined
    scope.close()
    if (end !== 'late' && end.kind === 'done' && scope.obstacle === undefined) {
      if (!scope.hasFailed || (await isIntact(tx))) {
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
    return end.kind === 'done' ? { kind: 'failed', error: new SqlCommitError() } : end
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

interface Taking<Item> {
  readonly ends: Map<Piece<Item>, PieceEnd>
  readonly took: (ms: number) => void
  /** No savepoints: when one of them has to be undone, all are. */
  readonly areTrusted: boolean
}

/** What stands between two pieces. */
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
  // What ran no statement has left nothing behind.
  undo: async ({ hasRun }) => {
    if (hasRun) throw new NeedsOwnTransaction()
  },
}

/** In an aborted transaction any statement fails. */
async function isIntact(tx: SqlTransaction): Promise<boolean> {
  try {
    await tx.query('SELECT 1')
    return true
  } catch {
    return false
  }
}
