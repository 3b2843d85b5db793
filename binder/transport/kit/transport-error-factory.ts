import { TransportError, type TransportErrorKind } from '../../errors.ts'

export interface FailureContext {
  readonly destination?: string | undefined
  readonly cause?: unknown
}

/** Creates the errors of one transport. */
export type Failure = (kind: TransportErrorKind, message: string, context?: FailureContext) => TransportError

/** @param transport its name, as in `Transport.name` */
export function failureOf(transport: string): Failure {
  return (kind, message, { destination, cause } = {}) =>
    new TransportError({
      transport,
      kind,
      message,
      ...(destination === undefined ? {} : { destination }),
      ...(cause === undefined ? {} : { cause }),
    })
}

/** Message for uses of a closed transport. */
export const CLOSED_TRANSPORT: string =
  'expected an open transport, got one that is closed: it closes with its binder or service, make another for the next one'
