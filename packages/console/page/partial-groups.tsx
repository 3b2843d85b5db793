import { partialGroups, useLive } from './live.ts'
import { Trouble } from './ui-components.tsx'

/** Reports that the shown groups are incomplete or old. Shows nothing while they are complete and current. */
export function PartialGroups() {
  const problem = partialGroups(useLive().snapshot)
  return problem === undefined ? null : <Trouble problem={problem} />
}
