/** Requests to the event applier with an event, and its answers. */
import type { SagaMail } from '../store/store-types.ts'
import type { LoadedSaga } from './loaded-saga.ts'

export interface Applied {
  readonly snapshot: LoadedSaga
  /** False: the event meant nothing in this state, nothing was written. */
  readonly changed: boolean
  /** The event itself was taken: false when another one came before it, such as the end of the saga's time. */
  readonly heard: boolean
}

/** Sender of an event, and what it has read of the saga. With `epoch` it is the owner, and must still be it. */
export interface EventSender {
  readonly snapshot?: LoadedSaga | undefined
  readonly epoch?: number | undefined
  /** For which of the sagas that had this id the event is; absent: for whichever has it now. */
  readonly birth?: string | undefined
  /** Mail that was read and that `snapshot` has no more: it is forgotten with what is written. */
  readonly read?: readonly SagaMail[] | undefined
  /** The sender of the event cannot be told: when it can never be written, the saga is parked. */
  readonly parks?: true | undefined
}
