import { ConcordatError } from '../core/errors.ts'

/** A part that the service needs to be ready did not start in time. It is retried in the background. */
export class ServiceNotReady extends ConcordatError {
  readonly code = 'service.not_ready' as const
  readonly retryable = true as const
  /** Names of the parts that are not up. */
  readonly parts: readonly string[]

  constructor(
    service: string,
    state: string,
    parts: ReadonlyArray<{ readonly name: string; readonly detail?: string | undefined }>,
  ) {
    const why = parts.map(({ name, detail }) => (detail === undefined ? name : `${name} (${detail})`)).join(', ')
    const isBegun = state === 'starting' || state === 'running'
    super(
      isBegun
        ? `service "${service}" is not ready: ${why || state}. Check that its servers are up, and health().parts`
        : `service "${service}" is not ready: it is ${state === 'idle' ? 'not started: await start() first' : `${state}: make another with createService`}`,
    )
    this.parts = parts.map(({ name }) => name)
  }
}

/** The service was closed: by `close()`, by a signal, or because its start failed. `cause`: the error of the start. */
export class ServiceClosed extends ConcordatError {
  readonly code = 'service.closed' as const
  readonly retryable = false as const

  constructor(service: string, cause?: unknown) {
    super(
      `service "${service}": expected an open service, got one that is closed: make another with createService`,
      cause === undefined ? undefined : { cause },
    )
  }
}
