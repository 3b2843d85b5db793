import { invalidOption } from '../../core/errors.ts'

/**
 * A transport's handling of the destinations that a binder declares.
 * - `create`: makes missing ones; an existing one that does not fit is an error
 * - `check`: makes nothing; all missing or unfitting ones are one error
 * - `none`: checks nothing; mismatches show in use
 */
export type ProvisionMode = 'create' | 'check' | 'none'

/** @throws TypeError naming the path */
export function checkProvisionMode(path: string, mode: unknown): ProvisionMode {
  if (mode === 'create' || mode === 'check' || mode === 'none') return mode
  throw invalidOption(path, mode, "'create', 'check' or 'none'")
}
