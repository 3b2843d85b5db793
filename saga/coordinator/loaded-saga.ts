/** A saga as it was read, with functions about its mail, size and owner. Pure. */
import type { Instant } from '../../core/elapsed-time.ts'
import type { Saga } from '../definition/saga-definition-types.ts'
import type { SagaEvent } from '../machine/event.ts'
import { type Call, isEnded, type SagaState, type SagaStatus } from '../machine/state.ts'
import type { SagaKey, SagaMail, SagaOperatorMail, SagaRow } from '../store/store-types.ts'

/** A saga as last read or written. */
export interface LoadedSaga {
  readonly saga: Saga
  readonly row: SagaRow
  /** Time just before it was read or written; a lease taken with it counts from here. */
  readonly takenAt: Instant
  /** Monotonic ms at which its state was written. */
  readonly writtenAt: number
  /** Monotonic ms at which the saga was started. */
  readonly startedAt: number
  /** Monotonic ms at which the saga's deadline passes; absent when it has none. */
  readonly deadlineAt?: number | undefined
}

/**
 * Larger sagas are read again instead of cached: a thousand of the largest would take a gigabyte. A transaction with a hundred
 * branches is smaller.
 */
const MAX_CACHED_SIZE = 20 * 1_024

/** Returns the call at the present position of its step, before which steps were added. */
export function moved(call: Call, { steps }: SagaState): Call {
  return { ...call, index: steps.findIndex(({ step }) => step === call.step) }
}

export function isCancel(mail: SagaMail): mail is SagaOperatorMail {
  return 'operator' in mail && mail.operator.do === 'cancel'
}

/** Returns the mail that remains after an operator's order was applied. */
export function withoutOrder(mail: SagaRow['mail'], order: SagaEvent): SagaRow['mail'] {
  const first = order.type === 'operator' ? mail?.find(isCancel) : undefined
  const rest = mail?.filter((item) => item !== first && (order.type !== 'undo' || !('undo' in item))) ?? []
  return rest.length === 0 ? null : rest
}

/** Returns the snapshot without these items of mail, each removed once. Text from the database is the same for equal values. */
export function withoutMail(snapshot: LoadedSaga, read: readonly SagaMail[]): LoadedSaga {
  const mail = [...(snapshot.row.mail ?? [])]
  for (const item of read) {
    const text = JSON.stringify(item)
    const index = mail.findIndex((other) => JSON.stringify(other) === text)
    if (index !== -1) mail.splice(index, 1)
  }
  return { ...snapshot, row: { ...snapshot.row, mail: mail.length === 0 ? null : mail } }
}

/**
 * True for a saga that continues. A stuck saga is written again after `onStuck` was called, so a cached copy would be outdated.
 */
export function isGoingOn(status: SagaStatus): boolean {
  return !isEnded(status) && status !== 'stuck'
}

/**
 * Tells whether a state written by this process follows another one. Revisions do not tell this: if a failover lost one of them,
 * the other may have the lower number.
 */
export function follows(state: LoadedSaga, other: LoadedSaga): boolean {
  return state.writtenAt >= other.writtenAt
}

/** True for an earlier saga with this id. */
export function isOther({ birth }: SagaRow, meant: string | undefined): boolean {
  return meant !== undefined && birth !== meant
}

/** Tells whether a saga is small enough to cache. */
export function isSmall({ input, state, mail }: SagaRow): boolean {
  const { steps, ...rest } = state
  let size = sizeOf(rest) + sizeOf(mail) + knownSizeOf(input)
  for (let i = 0; i < steps.length && size <= MAX_CACHED_SIZE; i++) size += knownSizeOf(steps[i])
  return size <= MAX_CACHED_SIZE
}

/** Sizes of inputs and steps. Most are shared with the previous state, and none changes. */
const sizes = new WeakMap<object, number>()

function knownSizeOf(part: unknown): number {
  if (typeof part !== 'object' || part === null) return sizeOf(part)
  const known = sizes.get(part)
  if (known !== undefined) return known
  const size = sizeOf(part)
  sizes.set(part, size)
  return size
}

/** Counts the characters of text and estimates the JSON size of other values. Stops at the limit. */
function sizeOf(value: unknown): number {
  let left = MAX_CACHED_SIZE
  const spend = (part: unknown): boolean => {
    left -= typeof part === 'string' ? part.length + 2 : 8
    if (left < 0) return false
    if (typeof part !== 'object' || part === null) return true
    for (const key in part) {
      left -= key.length
      if (!spend((part as Record<string, unknown>)[key])) return false
    }
    return true
  }
  return spend(value) ? MAX_CACHED_SIZE - left : Number.POSITIVE_INFINITY
}

export function cacheKey({ name, id }: SagaKey): string {
  return `${name}/${id}`
}
