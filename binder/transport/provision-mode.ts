import { invalidOption } from '../../core/errors.ts'

/**
 * What a transport does about the destinations that a binder declares.
 * - `create`: what is missing is made; what exists and does not fit is an error
 * - `check`: nothing is made; what is missing or does not fit is one error that names all of it
 * - `none`: nobody looks; what does not fit shows when it is used
 */
export type ProvisionMode = 'create' | 'check' | 'none'

/** @throws TypeError naming the path */
export function checkProvisionMode(path: string, mode: unknown): ProvisionMode {
  if (mode === 'create' || mode === 'check' || mode === 'none') return mode
  throw invalidOption(path, mode, "'create', 'check' or 'none'")
}
