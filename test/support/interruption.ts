/** Signal handling of a command that starts servers and processes. */

export interface Interruption {
  readonly signal: AbortSignal
  /** Exit code by a shell's rule for the signal; 0 without one. */
  readonly exitCode: () => number
}

/** Aborted by the first SIGINT, SIGTERM or SIGHUP; later ones do not cut the ending of servers and processes short. */
export function interruption(say: (line: string) => void): Interruption {
  const controller = new AbortController()
  let code = 0
  const codes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (code === 0) say(`${signal}: ending servers and processes`)
      code ||= codes[signal]
      controller.abort()
    })
  }
  return { signal: controller.signal, exitCode: () => code }
}
