/**
 * Commands whose records may have been purged because of their age. Only for these the barrier checks how far a purge has
 * advanced.
 */
import type { HandlerContext } from '../../binder/bindings/handler-types.ts'
import type { Clock } from '../../core/clock.ts'
import { type CommandHeaders, readCommandHeaders } from '../wire/wire.ts'
import { PURGE_AFTER_MS } from './barrier.ts'

/** Minimum age of purged records, less the possible difference between clocks. */
const OLD_MS = PURGE_AFTER_MS / 2

/** Reads the command of a message, with `sentAt` for an old `invoke`; a time of 0 is unknown. `undefined`: not a command. */
export function commandOf({ headers, time }: HandlerContext, clock: Clock): CommandHeaders | undefined {
  const command = readCommandHeaders(headers)
  const isOld = command?.operation === 'invoke' && time > 0 && clock.now() - time > OLD_MS
  return isOld ? { ...command, sentAt: time } : command
}

/** Tells whether its row may be recorded with others: the statement for a single one also checks how far a purge has advanced. */
export function mayShare({ sentAt }: CommandHeaders): boolean {
  return sentAt === undefined
}
