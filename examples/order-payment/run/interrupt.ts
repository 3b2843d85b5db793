import { readFileSync } from 'node:fs'

/** SIGINT, SIGTERM and the end of the npm that launched it end a run in good order; a second one ends it at once. */
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
  onLauncherGone(() => controller.abort(new Interrupted('the end of npm', EXIT_CODES.SIGTERM)))
  return controller.signal
}

/**
 * npm starts us through a shell and hands no signal through it: killed, it would leave us running with nobody to see it.
 * Watches npm and the shell, where the system tells who they are.
 */
function onLauncherGone(callback: () => void): void {
  if (process.env['npm_lifecycle_event'] === undefined) return
  const shell = process.ppid
  const npm = parentOf(shell)
  const watch = setInterval(() => {
    if (process.ppid === shell && (npm === undefined || parentOf(shell) === npm)) return
    clearInterval(watch)
    callback()
  }, 200)
  watch.unref()
}

function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
  } catch {
    return undefined
  }
}
