/**
 * Replaces what code takes from its process: the time, timers, random numbers. While histories run, code of a history gets those
 * of its world; all other code of the process gets its own, as before.
 */
import { syncBuiltinESMExports } from 'node:module'
import { virtualTimeIn } from 'concordat/extension'
import { surroundingsHere } from '../current-process.ts'
import { replacedRandomness } from './randomness.ts'
import { watchRealWaits } from './real-waits.ts'
import type { Restore } from './replace.ts'
import { replacedTime } from './time.ts'
import { replacedTimers } from './timers.ts'

/** Installs the world's replacements. @returns a function that removes them */
export function installWorld(): Restore {
  const undone = [...replacedTimers(), ...replacedTime(), ...replacedRandomness(), ...watchRealWaits()]
  undone.push(virtualTimeIn(() => surroundingsHere() !== undefined))
  syncBuiltinESMExports()
  return () => {
    for (const undo of undone.toReversed()) undo()
    syncBuiltinESMExports()
  }
}
