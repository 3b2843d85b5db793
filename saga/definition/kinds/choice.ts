/** `.choose(...)`: selects one of several branches. The choice is made once, when it is due, and stored. */

import { invalidOption } from '../../../core/errors.ts'
import { notAwaited } from '../../../core/unawaited-callbacks.ts'
import { stepPath, WAITING_STEP } from '../resolve-step-options.ts'
import type { StepDefinition } from '../saga-definition-types.ts'
import type { RequestContext } from '../step-contexts.ts'
import type { StepKind } from './kind.ts'

interface ChoiceDefinition extends StepDefinition {
  readonly by: (context: RequestContext) => unknown
  readonly chooses: readonly string[]
}

/** Input from the builder: the names of the branches, whose steps are ordinary steps. */
interface Raw {
  readonly by?: unknown
  readonly branches?: readonly string[]
}

const NAMES = new Set(['by', 'branches'])

export const CHOICE: StepKind<ChoiceDefinition> = {
  name: 'choice',
  // A choice takes more than options: see `blocks.ts`.
  spans: { outcome: undefined },
  resolve(place, options: Raw) {
    const path = stepPath(place, options, NAMES)
    const { by, branches = [] } = options
    if (typeof by !== 'function') throw invalidOption(`${path}.by`, by, 'a function that gives the name of a branch')
    return Object.freeze({
      ...WAITING_STEP,
      name: place.name,
      kind: CHOICE,
      awaits: 'plan',
      timeoutMs: 1,
      by: by as ChoiceDefinition['by'],
      chooses: Object.freeze([...branches]),
    })
  },
  graphOf: ({ chooses }) => ({ chooses }),
  tiesOf: () => ({}),
  async prepare({ name: step, by, chooses }, prepared) {
    const branch = notAwaited(by(await prepared.context()))
    if (typeof branch === 'string' && chooses.includes(branch)) return { type: 'chosen', step, branch }
    throw invalidOption(`choose("${step}")`, branch, `the name of a branch: ${chooses.join(', ')}`)
  },
}
