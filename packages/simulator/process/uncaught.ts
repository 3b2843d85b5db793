import { surroundingsHere } from '../current-process.ts'
import type { Restore } from './replace.ts'

/**
 * Receives uncaught exceptions of a world's code, which would otherwise end this process. Exceptions of other code go to their
 * own listeners; without listeners they would end the process, and are also reported here.
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
