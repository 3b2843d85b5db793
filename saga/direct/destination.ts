/** Destination of a step's commands: a channel, or a participant that is called directly. */
import { type Channel, requireChannel } from '../../binder/channel/channel.ts'
import { MINUTE, SECOND } from '../../core/clock.ts'
import type { DirectTarget } from './target.ts'

/**
 * Time until a step is called again. A direct call is lost with its process, and nothing else repeats it before. So any instance
 * also repeats calls to a participant that stays unavailable, once a minute.
 */
const STEP_TIMEOUT_MS = 10 * SECOND
const MAX_PAUSE_MS = 1 * MINUTE

/** Returns the limits of a step's calls; for calls by message those of any step. */
export function callTimes(
  at: DirectTarget | undefined,
  timeoutMs: number | undefined,
): { readonly timeoutMs: number | undefined; readonly maxPauseMs?: number } {
  return at === undefined ? { timeoutMs } : { timeoutMs: timeoutMs ?? STEP_TIMEOUT_MS, maxPauseMs: MAX_PAUSE_MS }
}

/** Returns the destination of a step's commands. @throws TypeError */
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
