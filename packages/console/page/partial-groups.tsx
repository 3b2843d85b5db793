import { partialGroups, useLive } from './live.ts'
import { Trouble } from './ui-components.tsx'

/** Says that not all groups are shown, or not their state of now. Nothing while the picture is whole. */
export function PartialGroups() {
  const problem = partialGroups(useLive().snapshot)
  return problem === undefined ? null : <Trouble problem={problem} />
}
