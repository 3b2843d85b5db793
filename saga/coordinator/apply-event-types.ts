/** Requests to apply an event to a saga, and the results. */
import type { SagaMail } from '../store/store-types.ts'
import type { LoadedSaga } from './loaded-saga.ts'

export interface Applied {
  readonly snapshot: LoadedSaga
  /** False: the event has no meaning in this state, and nothing was written. */
  readonly changed: boolean
  /** True if the event itself was applied. False when another event came first, such as the saga's deadline. */
  readonly heard: boolean
}

/** Sender of an event, with its last read of the saga. A sender with `epoch` is the owner, and must still own the saga. */
export interface EventSender {
  readonly snapshot?: LoadedSaga | undefined
  readonly epoch?: number | undefined
  /** Identifies one of the sagas that have had this id; absent: the current one. */
  readonly birth?: string | undefined
  /** Mail that was read and is no longer in `snapshot`. It is deleted by the same write. */
  readonly read?: readonly SagaMail[] | undefined
  /** The event has no sender that waits for a result: if it can never be written, the saga is parked. */
  readonly parks?: true | undefined
}
