/** Where the commands of a step go: into a channel, or to a participant that is asked directly. */
import { type Channel, requireChannel } from '../../binder/channel/channel.ts'
import { MINUTE, SECOND } from '../../core/clock.ts'
import type { DirectTarget } from './target.ts'

/**
 * Until a step is asked for again. A question is lost with the process that made it, and nothing else asks for it meanwhile: so
 * also a participant that is away for long is asked for again by whichever instance there is, each minute.
 */
const STEP_TIMEOUT_MS = 10 * SECOND
const MAX_PAUSE_MS = 1 * MINUTE

/** The limits of a step's calls; those of any step, where it is asked by message. */
export function callTimes(
  at: DirectTarget | undefined,
  timeoutMs: number | undefined,
): { readonly timeoutMs: number | undefined; readonly maxPauseMs?: number } {
  return at === undefined ? { timeoutMs } : { timeoutMs: timeoutMs ?? STEP_TIMEOUT_MS, maxPauseMs: MAX_PAUSE_MS }
}

/** Where a step's commands go, and how. @throws TypeError */
export function resolveDestination(
  path: string,
  to: unknown,
): { readonly to: Channel; readonly at: DirectTarget | undefined } {
  const target = to as Partial<DirectTarget> | undefined
  if (target?.asking !== undefined && target.channel !== undefined) {
    return { to: requireChannel(path, target.channel), at: target as DirectTarget }
  }
  return { to: requireChannel(path, to as Channel), at: undefined }
}
