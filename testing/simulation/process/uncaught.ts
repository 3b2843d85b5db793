import { surroundingsHere } from '../surroundings.ts'
import type { Restore } from './replace.ts'

/**
 * What code of a world throws where nobody catches it, in place of the end of this process. What other code throws is a matter of those who
 * listen for it; without any it would end the process, and is told here, too.
 */
export function hearUncaught(hear: (invariant: string, reason: unknown) => void): Restore {
  const listeners = [
    ['unhandledRejection', 'no rejection is unhandled'],
    ['uncaughtException', 'no error is uncaught'],
  ] as const
  const ends = listeners.map(([event, invariant]) => {
    const listener = (reason: unknown): void => {
      if (surroundingsHere() !== undefined || process.listenerCount(event) === 1) hear(invariant, reason)
    }
    process.on(event, listener)
    return () => void process.off(event, listener)
  })
  return () => {
    for (const end of ends) end()
  }
}
