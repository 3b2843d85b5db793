/**
 * What code asks of its process without being given it: the time, timers, random numbers. While histories are played, code that
 * runs in one gets those of its world; all other code of the process gets its own, as before.
 */
import { syncBuiltinESMExports } from 'node:module'
import { virtualTimeIn } from 'concordat/extension'
import { surroundingsHere } from '../current-process.ts'
import { replacedRandomness } from './randomness.ts'
import { watchRealWaits } from './real-waits.ts'
import type { Restore } from './replace.ts'
import { replacedTime } from './time.ts'
import { replacedTimers } from './timers.ts'

/** Puts the world's answers in place of the process's. @returns takes them away again */
export function installWorld(): Restore {
  const undone = [...replacedTimers(), ...replacedTime(), ...replacedRandomness(), ...watchRealWaits()]
  undone.push(virtualTimeIn(() => surroundingsHere() !== undefined))
  syncBuiltinESMExports()
  return () => {
    for (const undo of undone.toReversed()) undo()
    syncBuiltinESMExports()
  }
}
