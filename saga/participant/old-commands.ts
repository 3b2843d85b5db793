/** Commands that are so old that what was entered of them may be purged: of these alone the barrier is asked how far a purge came. */
import type { HandlerContext } from '../../binder/bindings/handler-types.ts'
import type { Clock } from '../../core/clock.ts'
import { type CommandHeaders, readCommandHeaders } from '../wire/wire.ts'
import { PURGE_AFTER_MS } from './barrier.ts'

/** The shortest age that a purge takes, less what the clocks may differ. */
const OLD_MS = PURGE_AFTER_MS / 2

/** The command of a message, with `sentAt` when it is an old `invoke`; a time of 0 is not known. `undefined`: it is no command. */
export function commandOf({ headers, time }: HandlerContext, clock: Clock): CommandHeaders | undefined {
  const command = readCommandHeaders(headers)
  const isOld = command?.operation === 'invoke' && time > 0 && clock.now() - time > OLD_MS
  return isOld ? { ...command, sentAt: time } : command
}

/** Whether its row may be entered with those of others: how far a purge came is part of the statement that enters one. */
export function mayShare({ sentAt }: CommandHeaders): boolean {
  return sentAt === undefined
}
