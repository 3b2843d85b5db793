/** The groups that a command can know. */
import { setTimeout as sleep } from 'node:timers/promises'
import { SECOND } from '../../core/clock.ts'
import type { LetterPlace } from '../letters.ts'
import type { Operator } from '../operator.ts'
import { declaredPlaces, reportedPlaces } from '../system/places.ts'
import { describeSystem } from '../system/read-system.ts'
import { type Declarations, declarationsHere, readDeclarations } from './declarations.ts'

const LISTEN_MS = 3 * SECOND

/**
 * Groups beside those of the log in the database: those that a module declares, else those that instances report over the bus.
 * @param module `undefined` for `concordat.config.ts` here
 * @throws UsageError when the module cannot be read
 */
export async function knownPlaces(operator: Operator, module: string | undefined): Promise<readonly LetterPlace[]> {
  const declared = await declarationsOf(module)
  if (declared !== undefined) return declaredPlaces(describeSystem(declared.services))
  return (await operator.groups()).length > 0 ? [] : placesOnBus(operator)
}

/** The declarations of `module`; `undefined` when it is not given and no configuration file is here. */
export function declarationsOf(module: string | undefined): Promise<Declarations | undefined> {
  return module === undefined ? declarationsHere() : readDeclarations(module)
}

async function placesOnBus({ bus }: Operator): Promise<readonly LetterPlace[]> {
  try {
    await using watched = await bus.watch({ everyMs: 1 * SECOND })
    await sleep(LISTEN_MS)
    return reportedPlaces(watched.view())
  } catch {
    // No bus here, or no broker that was named: then nothing is known.
    return []
  }
}
