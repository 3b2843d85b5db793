/**
 * Decides, without I/O, in which steps a window of rows is published and what happens to a failed row.
 *
 * A lane is a sequence with an order: one destination and key. Each row without a key is its own lane.
 */

import type { EncodedMessage } from '../binder/channel/message.ts'
import type { TransportError, TransportErrorKind } from '../binder/errors.ts'
import type { PublishOutcome } from '../binder/transport/transport.ts'
import { type Backoff, backoffDelayMs } from '../core/backoff.ts'

export interface WindowRow {
  readonly seq: string
  readonly message: EncodedMessage
  /** Failed publishes so far. */
  readonly attempts: number
  /** Failures that count towards parking. */
  readonly strikes: number
}

export interface WindowFailure {
  readonly row: WindowRow
  readonly error: TransportError
}

export interface WindowResult {
  readonly confirmed: readonly WindowRow[]
  readonly failed: readonly WindowFailure[]
  /** Rows not tried yet because the window was due, each lane in its order; empty if the window was aborted. */
  readonly rest: readonly WindowRow[]
}

/**
 * Publishes the rows, in separate calls per destination, and never two rows of one lane in one call, because the second can be
 * sent only if the first was confirmed. A lane stops at its first failure, a destination at a call without a response. Ends early
 * when `isDue`, so that a lane with many rows does not delay rows outside the window. Is aborted when `mayGoOn` returns false or
 * a whole round met an outage.
 * @param publish returns one outcome per row; `undefined`: there is no response yet, and `publish` continues with these rows
 * alone
 */
export async function publishWindow(
  rows: readonly WindowRow[],
  publish: (rows: readonly WindowRow[]) => Promise<readonly PublishOutcome[] | undefined>,
  mayGoOn: () => boolean,
  isDue: () => boolean,
): Promise<WindowResult> {
  const confirmed: WindowRow[] = []
  const failed: WindowFailure[] = []
  const stopped = new Set<string>()
  const isOpen = (row: WindowRow): boolean => stopped.size === 0 || !stopped.has(laneOf(row))
  const rounds = roundsOf(rows)
  for (const [n, round] of rounds.entries()) {
    const open = round.filter(isOpen)
    if (open.length === 0) continue
    if (n > 0 && isDue()) return { confirmed, failed, rest: rounds.slice(n).flat().filter(isOpen) }
    if (!mayGoOn()) return { confirmed, failed, rest: [] }
    const calls = byDestination(open)
    const answers = await Promise.all(calls.map(publish))
    let met = 0
    for (const [i, call] of calls.entries()) {
      const outcomes = answers[i]
      for (let k = 0; k < call.length; k++) {
        const row = call[k] as WindowRow
        const error = outcomes?.[k]
        if (outcomes !== undefined && error === undefined) {
          confirmed.push(row)
          continue
        }
        if (error !== undefined) failed.push({ row, error })
        if (error === undefined || judge(error) === 'outage') met++
        stopped.add(laneOf(row))
      }
    }
    if (met === open.length) return { confirmed, failed, rest: [] }
  }
  return { confirmed, failed, rest: [] }
}

/** Takes rows in order until half a window is full: the other half is for other lanes. */
export function carryOver(rest: readonly WindowRow[], windowRows: number, windowBytes: number): readonly WindowRow[] {
  let bytes = 0
  const end = rest.findIndex((row, i) => {
    bytes += bodyBytes(row)
    return i >= windowRows / 2 || bytes > windowBytes / 2
  })
  return end === -1 ? rest : rest.slice(0, end)
}

export function bodyBytes(row: WindowRow): number {
  return row.message.body?.byteLength ?? 0
}

/** The rows of each destination, in their order. */
function byDestination(rows: readonly WindowRow[]): ReadonlyArray<readonly WindowRow[]> {
  const first = rows[0]?.message.destination
  if (rows.every(({ message }) => message.destination === first)) return [rows]
  return [...Map.groupBy(rows, ({ message }) => message.destination).values()]
}

/** The n-th rows of all lanes form the n-th round; each round keeps the order of the window. */
function roundsOf(rows: readonly WindowRow[]): ReadonlyArray<readonly WindowRow[]> {
  const rounds: WindowRow[][] = []
  const seen = new Map<string, number>()
  for (const row of rows) {
    const lane = laneOf(row)
    const n = seen.get(lane) ?? 0
    seen.set(lane, n + 1)
    const round = rounds[n]
    if (round === undefined) rounds.push([row])
    else round.push(row)
  }
  return rounds
}

export function laneOf(row: WindowRow): string {
  const { destination, key } = row.message
  return key === null ? `#${row.seq}` : `${destination}\0${key}`
}

/**
 * - `outage`: the broker is unavailable. Says nothing about the message; never parks it.
 * - `wait`: the broker responds "not now". Never parks the message either: this ends by itself.
 * - `strike`: a configuration error that may be fixed during the retries; parked after `maxAttempts`.
 * - `park`: a later attempt cannot have another result.
 */
export type Verdict = 'outage' | 'wait' | 'strike' | 'park'

const VERDICTS: Readonly<Record<TransportErrorKind, Verdict>> = {
  unavailable: 'outage',
  timeout: 'outage',
  closed: 'outage',
  refused: 'wait',
  unroutable: 'strike',
  mismatch: 'strike',
  too_large: 'park',
}

export function judge(error: TransportError): Verdict {
  return VERDICTS[error.kind]
}

/** Tells whether `judge` knows the kind of this error; a publisher in JavaScript may use an unknown kind. */
export function isJudged(error: object): boolean {
  return 'kind' in error && typeof error.kind === 'string' && Object.hasOwn(VERDICTS, error.kind)
}

/** Record of a failed row. `delayMs` undefined: parked. */
export interface Hold {
  readonly seq: string
  /** Id of the message. */
  readonly id: string
  readonly strikes: number
  readonly delayMs: number | undefined
  readonly error: string
}

const MAX_ERROR_CHARACTERS = 2_000

export function holdOf(failure: WindowFailure, backoff: Backoff, maxAttempts: number, random: number): Hold {
  const { row, error } = failure
  const verdict = judge(error)
  const strikes = row.strikes + (verdict === 'strike' || verdict === 'park' ? 1 : 0)
  const parks = verdict === 'park' || (verdict === 'strike' && strikes >= maxAttempts)
  return {
    seq: row.seq,
    id: row.message.id,
    strikes,
    delayMs: parks ? undefined : backoffDelayMs(backoff, row.attempts + 1, random),
    error: storable(`${error.kind}: ${error.message}`),
  }
}

/** Record of a row that contains no message: parked. */
export function unreadableHold(seq: string, id: string, error: Error): Hold {
  return { seq, id, strikes: 0, delayMs: undefined, error: storable(`cannot be read: ${error.message}`) }
}

/** Removes what PostgreSQL refuses in a text: NUL, and half surrogate pairs left by truncation. */
function storable(text: string): string {
  return text.slice(0, MAX_ERROR_CHARACTERS).replaceAll('\0', '\uFFFD').toWellFormed()
}
