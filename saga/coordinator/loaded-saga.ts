/** A saga as it was read, and questions about it: its mail, its size, its owner. Pure. */
import type { Instant } from '../../core/elapsed-time.ts'
import type { Saga } from '../definition/saga-definition-types.ts'
import type { SagaEvent } from '../machine/event.ts'
import { type Call, isEnded, type SagaState, type SagaStatus } from '../machine/state.ts'
import type { SagaKey, SagaMail, SagaOperatorMail, SagaRow } from '../store/store-types.ts'

/** A saga as it was last read or written. */
export interface LoadedSaga {
  readonly saga: Saga
  readonly row: SagaRow
  /** Before it was read or written: a lease taken with it counts from here. */
  readonly takenAt: Instant
  /** Monotonic ms at which its state was written. */
  readonly writtenAt: number
  /** Monotonic ms at which the saga was started. */
  readonly startedAt: number
  /** Monotonic ms at which the saga's deadline passes; absent when it has none. */
  readonly deadlineAt?: number | undefined
}

/** Larger ones are read again: a thousand of the largest would be a gigabyte. A transaction of a hundred branches is smaller. */
const MAX_CACHED_SIZE = 20 * 1_024

/** The call where its step is now: steps were added before it. */
export function moved(call: Call, { steps }: SagaState): Call {
  return { ...call, index: steps.findIndex(({ step }) => step === call.step) }
}

export function isCancel(mail: SagaMail): mail is SagaOperatorMail {
  return 'operator' in mail && mail.operator.do === 'cancel'
}

/** The mail that is left when this order was followed. */
export function withoutOrder(mail: SagaRow['mail'], order: SagaEvent): SagaRow['mail'] {
  const first = order.type === 'operator' ? mail?.find(isCancel) : undefined
  const rest = mail?.filter((item) => item !== first && (order.type !== 'undo' || !('undo' in item))) ?? []
  return rest.length === 0 ? null : rest
}

/** Without these items, each once. What the database gave has one text for one value. */
export function withoutMail(snapshot: LoadedSaga, read: readonly SagaMail[]): LoadedSaga {
  const mail = [...(snapshot.row.mail ?? [])]
  for (const item of read) {
    const text = JSON.stringify(item)
    const index = mail.findIndex((other) => JSON.stringify(other) === text)
    if (index !== -1) mail.splice(index, 1)
  }
  return { ...snapshot, row: { ...snapshot.row, mail: mail.length === 0 ? null : mail } }
}

/** A stuck saga is written again right after its report: a cached copy would be stale. */
export function isGoingOn(status: SagaStatus): boolean {
  return !isEnded(status) && status !== 'stuck'
}

/**
 * Whether a state that this process wrote follows another one that it wrote. Revisions do not tell: if a failover lost the one, the
 * other may have the lower number.
 */
export function follows(state: LoadedSaga, other: LoadedSaga): boolean {
  return state.writtenAt >= other.writtenAt
}

/** True for an earlier saga with this id. */
export function isOther({ birth }: SagaRow, meant: string | undefined): boolean {
  return meant !== undefined && birth !== meant
}

/** Whether its state may be kept in memory. */
export function isSmall({ input, state, mail }: SagaRow): boolean {
  const { steps, ...rest } = state
  let size = sizeOf(rest) + sizeOf(mail) + knownSizeOf(input)
  for (let i = 0; i < steps.length && size <= MAX_CACHED_SIZE; i++) size += knownSizeOf(steps[i])
  return size <= MAX_CACHED_SIZE
}

/** Sizes of inputs and steps, most of which one state has from the one before; neither ever changes. */
const sizes = new WeakMap<object, number>()

function knownSizeOf(part: unknown): number {
  if (typeof part !== 'object' || part === null) return sizeOf(part)
  const known = sizes.get(part)
  if (known !== undefined) return known
  const size = sizeOf(part)
  sizes.set(part, size)
  return size
}

/** Characters of text and, about, what the rest would take as JSON. Looks no further than it has to. */
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
