import { ConcordatError } from '../core/errors.ts'

/**
 * A participant or a local step says no, having done nothing: the card is declined, the stock is empty. Terminal: the
 * saga turns back, and its failure carries `code` and the message. Thrown by the user.
 */
export class Refusal extends ConcordatError {
  readonly code: string
  readonly retryable = false as const
  /** Tells a refusal from any other error, whichever copy of the package made it. */
  readonly refusal = true as const

  /** @param code stable and machine-readable, e.g. `payments.declined`; it reaches `failure.code` */
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/**
 * `start` was called with an id that a saga with another input already has, or on shards with one that belongs to a step of another
 * saga.
 */
export class SagaConflict extends ConcordatError {
  readonly code = 'saga.conflict' as const
  readonly retryable = false as const
  readonly saga: string
  readonly id: string

  constructor(
    saga: string,
    id: string,
    problem = 'was already started with another input: use another id, or read the first with get()',
  ) {
    super(`saga ${saga}/${id} ${problem}`)
    this.saga = saga
    this.id = id
  }
}

/** A definition was changed without a new version while the database knows the old one. */
export class SagaGraphChanged extends ConcordatError {
  readonly code = 'saga.graph_changed' as const
  readonly retryable = false as const
  readonly saga: string
  readonly version: number

  constructor(saga: string, version: number) {
    super(
      `defineSaga("${saga}") version ${version} differs from the version ${version} that this database has run: ` +
        'raise `version` and keep the old definition in `sagas` until its instances have ended',
    )
    this.saga = saga
    this.version = version
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

/**
 * Sagas were started with inputs that the definition's schema refuses now. From `run()`: nothing was touched. Later it is
 * logged, and the saga is left to an instance that can read it.
 */
export class SagaInputUnreadable extends ConcordatError {
  readonly code = 'saga.input_unreadable' as const
  readonly retryable = false as const
  readonly sagas: readonly UnreadableSagas[]

  constructor(sagas: readonly UnreadableSagas[], options?: ErrorOptions) {
    const each = sagas.map(
      ({ saga, version, count, ids }) => `${count} of ${saga} version ${version} (${ids.join(', ')})`,
    )
    super(
      `open sagas have an input that their schema refuses now: ${each.join('; ')}. Give defineSaga an \`upcast\` for inputs ` +
        'of before, make the new fields optional, or raise `version` and keep the old definition in `sagas`',
      options,
    )
    this.sagas = sagas
  }
}

/**
 * The result of an earlier step does not fit its `reply`, or the `payload` of a signal, as this release has it. The saga was not
 * touched: it is left to an instance that can read it.
 */
export class SagaResultUnreadable extends ConcordatError {
  readonly code = 'saga.result_unreadable' as const
  readonly retryable = false as const
  readonly saga: string
  readonly id: string
  readonly version: number
  /** Whose result it is. */
  readonly step: string

  constructor(
    of: { readonly name: string; readonly id: string; readonly version: number },
    step: string,
    cause: Error,
  ) {
    super(
      `saga ${of.name}/${of.id} of version ${of.version} has a result that this release refuses (${cause.message}): make the new fields of ` +
        `\`reply\` or \`payload\` of step "${step}" optional, or raise \`version\` and keep the old definition in \`sagas\``,
      { cause },
    )
    this.saga = of.name
    this.id = of.id
    this.version = of.version
    this.step = step
  }
}

/** No saga with this name and id. `outcome()` without `timeoutMs` says so after 30 s, for the saga may begin a little later. */
export class SagaNotFound extends ConcordatError {
  readonly code = 'saga.not_found' as const
  readonly retryable = false as const

  constructor(saga: string, id: string) {
    super(`no saga ${saga}/${id}: it was never started here, or the transaction that started it was rolled back`)
  }
}

/** An input, a result, a reply or a signal is larger than the coordinator's `maxPayloadBytes`. Nothing was stored. */
export class SagaPayloadTooLarge extends ConcordatError {
  readonly code = 'saga.payload_too_large' as const
  readonly retryable = false as const
  readonly bytes: number
  readonly maxBytes: number

  constructor(subject: string, bytes: number, maxBytes: number) {
    super(
      `${subject} has ${bytes} bytes as JSON, at most ${maxBytes} are allowed: store it elsewhere and pass a reference, ` +
        'or raise maxPayloadBytes',
    )
    this.bytes = bytes
    this.maxBytes = maxBytes
  }
}

/** An operator action that the saga's state does not allow. Nothing was changed. */
export class SagaActionRefused extends ConcordatError {
  readonly code = 'saga.action_refused' as const
  readonly retryable = false as const

  /** @param why a clause: `it is completed` */
  constructor(saga: string, id: string, action: string, why: string) {
    super(`saga ${saga}/${id} refused "${action}": ${why}. Look at its timeline first.`)
  }
}

/** `outcome()` ran out of time; the saga goes on. */
export class SagaPending extends ConcordatError {
  readonly code = 'saga.pending' as const
  readonly retryable = true as const

  constructor(saga: string, id: string, timeoutMs: number) {
    super(`saga ${saga}/${id} did not end within ${timeoutMs} ms; if it was started it goes on: ask again`)
  }
}

/** The coordinator was closed. */
export class CoordinatorClosed extends ConcordatError {
  readonly code = 'saga.closed' as const
  readonly retryable = false as const

  constructor() {
    super(
      'coordinator: expected an open coordinator, got one that is closed: start nothing after close(), and ask an open one for what has ' +
        'begun: it goes on there, or in the next process',
    )
  }
}

/** A local step ran longer than its `timeoutMs`. Whether it had an effect is unknown unless it is transactional. */
export class StepTimeout extends ConcordatError {
  readonly code = 'saga.step_timeout' as const
  readonly retryable = true as const

  constructor(key: string, timeoutMs: number) {
    super(`${key} did not finish within ${timeoutMs} ms: honour context.signal, or raise timeoutMs`)
  }
}

/**
 * A transactional step left its transaction under a role that may not write the coordinator's tables, or an XA participant its own under
 * another role than it began with. It is rolled back.
 */
export class SagaStepRole extends ConcordatError {
  readonly code = 'saga.step_role' as const
  readonly retryable = true as const

  constructor(key: string, options?: ErrorOptions) {
    super(
      `${key}: its transaction was left under a role that may not write the tables of sagas, or not end what it prepares. If the step sets a role, call RESET ROLE before it returns; ` +
        "else grant the coordinator's role its rights, see docs/production/permissions.md",
      options,
    )
  }
}

/** Another coordinator has taken the saga over; what this one did for it was not written. */
export class OwnershipLost extends ConcordatError {
  readonly code = 'saga.ownership_lost' as const
  readonly retryable = true as const

  constructor(saga: string, id: string) {
    super(`saga ${saga}/${id} was taken over by another coordinator`)
  }
}
