import { counted } from '../core/counted-noun.ts'
import { type ErrorClass, type ErrorOf, errorClass, reasonOf } from '../core/define-error-class.ts'
import { ConcordatError } from '../core/errors.ts'

/**
 * Thrown by a participant or a local step to refuse its work after having done nothing, such as when a card is declined or stock
 * is empty. Terminal: the saga is undone, and its failure carries `code` and the message.
 */
export class Refusal extends ConcordatError {
  readonly code: string
  readonly retryable = false as const
  /** Distinguishes a refusal from other errors, also from another copy of the package. */
  readonly refusal = true as const

  /** @param code stable and machine-readable, such as `payments.declined`; becomes `failure.code` */
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** Sagas that a definition can no longer read, by name and version. */
export interface UnreadableSagas {
  readonly saga: string
  readonly version: number
  readonly count: number
  /** Ids of a few of these sagas. */
  readonly ids: readonly string[]
}

/** Fields of a `SagaError`, by code. */
export interface SagaErrors {
  /**
   * `start` was called with the id of a saga that has another input, or, on shards, with an id that belongs to a step of another
   * saga.
   */
  'saga.conflict': { saga: string; id: string; problem?: string }
  /** A definition was changed without a new version, and the database knows the old definition. */
  'saga.graph_changed': { saga: string; version: number }
  /**
   * The definition's schema refuses inputs of existing sagas. Thrown by `run()`, before anything was changed. Later the
   * coordinator logs it, and leaves the saga to an instance that can read it.
   */
  'saga.input_unreadable': { sagas: readonly UnreadableSagas[] }
  /**
   * The result of an earlier step does not fit this release's `reply` schema, or a signal does not fit its `payload` schema. The
   * saga was not changed, and is left to an instance that can read it.
   */
  'saga.result_unreadable': { saga: string; id: string; version: number; step: string }
  /**
   * No saga has this name and id. `outcome()` without `timeoutMs` throws this after 30 s, because the saga may begin a little
   * later.
   */
  'saga.not_found': { saga: string; id: string }
  /** An input, a result, a reply or a signal is larger than the coordinator's `maxPayloadBytes`. Nothing was stored. */
  'saga.payload_too_large': { subject: string; bytes: number; maxBytes: number }
  /**
   * An operator action that the saga's state does not allow. Nothing was changed. `why` is a clause such as `it is completed`.
   */
  'saga.action_refused': { saga: string; id: string; action: string; why: string }
  /** `outcome()` reached its time limit; the saga continues. */
  'saga.pending': { saga: string; id: string; timeoutMs: number }
  /** The coordinator was closed. */
  'saga.closed': object
  /** A local step ran longer than its `timeoutMs`. Unless it is transactional, its effect is unknown. */
  'saga.step_timeout': { key: string; timeoutMs: number }
  /**
   * A transactional step left its transaction under a role that may not write the coordinator's tables, or an XA participant left
   * its transaction under another role than at the start. The transaction is rolled back.
   */
  'saga.step_role': { key: string }
  /** Another coordinator has taken over the saga; the changes of this one were not written. */
  'saga.ownership_lost': { saga: string; id: string }
  /**
   * A reply to a saga of another database. It becomes a dead letter. Give this coordinator another name, then redrive the letter:
   * the coordinator of the other database receives it.
   */
  'saga.reply_strayed': {
    saga: string
    id: string
    step: string
    service: string
    channel: string
    other: string
    own: string
  }
  /** A local participant already runs its maximum number of calls. The coordinator calls again. */
  'saga.local_busy': { channel: string; calls: number }
  /** A request to an HTTP participant is larger than its limit, and was not sent. */
  'saga.http_too_large': { channel: string; bytes: number; maxBytes: number }
  /**
   * Another process runs a transaction of this XA participant, or the transaction is not decided yet. The command is tried again.
   */
  'saga.xa_not_yet': { message: string }
  /** An administrator committed a prepared transaction, so repeating it would apply its effect twice. */
  'saga.committed_by_hand': { key: string }
}

/** Error of sagas. Its fields depend on its `code`: see `SagaErrors`. */
export type SagaError<Code extends keyof SagaErrors = keyof SagaErrors> = ErrorOf<SagaErrors, Code>

/** Error of sagas. Its fields depend on its `code`: see `SagaErrors`. */
export const SagaError: ErrorClass<SagaErrors> = errorClass<SagaErrors>(
  'SagaError',
  {
    'saga.conflict': ({
      saga,
      id,
      problem = 'was already started with another input: use another id, or read the first with get()',
    }) => `saga ${saga}/${id} ${problem}`,
    'saga.graph_changed': ({ saga, version }) =>
      `defineSaga("${saga}") version ${version} differs from the version ${version} that this database has run: ` +
      'raise `version` and keep the old definition in `sagas` until its instances have ended',
    'saga.input_unreadable': ({ sagas }) => {
      const each = sagas.map(
        ({ saga, version, count, ids }) => `${count} of ${saga} version ${version} (${ids.join(', ')})`,
      )
      return (
        `open sagas have an input that their schema refuses now: ${each.join('; ')}. Give defineSaga an \`upcast\` for inputs ` +
        'of before, make the new fields optional, or raise `version` and keep the old definition in `sagas`'
      )
    },
    'saga.result_unreadable': ({ saga, id, version, step }, cause) =>
      `saga ${saga}/${id} of version ${version} has a result that this release refuses (${reasonOf(cause)}): make the new fields of ` +
      `\`reply\` or \`payload\` of step "${step}" optional, or raise \`version\` and keep the old definition in \`sagas\``,
    'saga.not_found': ({ saga, id }) =>
      `no saga ${saga}/${id}: it was never started here, or the transaction that started it was rolled back`,
    'saga.payload_too_large': ({ subject, bytes, maxBytes }) =>
      `${subject} has ${bytes} bytes as JSON, at most ${maxBytes} are allowed: store it elsewhere and pass a reference, ` +
      'or raise maxPayloadBytes of createCoordinator (in createService: parts: { coordinator: { maxPayloadBytes } })',
    'saga.action_refused': ({ saga, id, action, why }) =>
      `saga ${saga}/${id} refused "${action}": ${why}. Look at its timeline first.`,
    'saga.pending': ({ saga, id, timeoutMs }) =>
      `saga ${saga}/${id} did not end within ${timeoutMs} ms; if it was started it goes on: ask again`,
    'saga.closed':
      'coordinator: expected an open coordinator, got one that is closed: start nothing after close(), and ask an open one for what has ' +
      'begun: it goes on there, or in the next process',
    'saga.step_timeout': ({ key, timeoutMs }) =>
      `${key} did not finish within ${timeoutMs} ms: honour context.signal, or raise timeoutMs`,
    'saga.step_role': ({ key }) =>
      `${key}: its transaction was left under a role that may not write the tables of sagas, or not end what it prepares. If the step sets a role, call RESET ROLE before it returns; ` +
      "else grant the coordinator's role its rights, see docs/production/permissions.md",
    'saga.ownership_lost': ({ saga, id }) => `saga ${saga}/${id} was taken over by another coordinator`,
    'saga.reply_strayed': ({ saga, id, step, service, channel, other, own }) =>
      `the reply of step "${step}" of ${saga}/${id} is for a coordinator with another database or schema (saga_home ${other}; ` +
      `here it is ${own}): two of them have the name "${service}" and read ${channel}. Give each a service name of its own, and send ` +
      `the dead letters of ${channel} back`,
    'saga.local_busy': ({ channel, calls }) =>
      `"${channel}": ${counted(calls, 'call is', 'calls are')} still at work, some of which are no longer awaited. Heed message.signal in its functions, and set query_timeout`,
    'saga.http_too_large': ({ channel, bytes, maxBytes }) =>
      `the request to "${channel}" has ${bytes} bytes, at most ${maxBytes} are allowed: send a reference, or raise maxRequestBytes`,
    'saga.xa_not_yet': ({ message }) => message,
    'saga.committed_by_hand': ({ key }) =>
      `${key} was prepared, and committed by hand before it was answered: look at what it did, then skip or resolve`,
  },
  ['saga.pending', 'saga.step_timeout', 'saga.step_role', 'saga.ownership_lost', 'saga.local_busy', 'saga.xa_not_yet'],
)
