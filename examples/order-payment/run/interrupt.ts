/** Abort reason after the first SIGINT or SIGTERM, which ends the run cleanly. A second signal exits at once. */
export class Interrupted extends Error {
  readonly exitCode: number

  constructor(signal: string, exitCode: number) {
    super(`interrupted by ${signal}`)
    this.exitCode = exitCode
  }
}

const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const

export function onInterrupt(): AbortSignal {
  const controller = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      const reason = new Interrupted(signal, EXIT_CODES[signal])
      if (controller.signal.aborted) process.exit(reason.exitCode)
      controller.abort(reason)
    })
  }
  return controller.signal
}
