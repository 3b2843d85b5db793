import type { Operation, Verdict } from '../../support/history/wgl.ts'
import type { Event } from './events.ts'
import type { InvariantVerdict } from './suite.ts'

const MOST_EVIDENCE = 12

/** Collects evidence against each invariant; one without any call was not judged. */
export class Verdicts {
  readonly #found = new Map<string, string[]>()
  readonly #notPromised = new Set<string>()

  /** The invariant is judged from now on. */
  judge(invariant: string): (evidence: string) => void {
    const evidence = this.#found.get(invariant) ?? []
    this.#found.set(invariant, evidence)
    return (line) => void evidence.push(line)
  }

  notPromised(invariant: string): void {
    this.#notPromised.add(invariant)
  }

  all(): InvariantVerdict[] {
    const judged = [...this.#found].map(([invariant, evidence]): InvariantVerdict => {
      const more = evidence.length - MOST_EVIDENCE
      const shown = more > 0 ? [...evidence.slice(0, MOST_EVIDENCE), `and ${more} more`] : evidence
      return { invariant, holds: evidence.length === 0, evidence: shown }
    })
    const rest = [...this.#notPromised].map((invariant): InvariantVerdict => {
      return { invariant, holds: true, notPromised: true, evidence: [] }
    })
    return [...judged, ...rest]
  }
}

/** Describes an event for a person: time, process, operation, details. */
export function tell(event: Event): string {
  const { at, process, type, op, token, grant, until, outcome, error, text } = event
  const parts = [`${at.toFixed(1)} ${process} ${type} ${op}`]
  if (grant !== undefined) parts.push(`holding ${grant}`)
  if (token !== undefined) parts.push(`token ${token}`)
  if (until !== undefined) parts.push(`believes until ${until.toFixed(1)}`)
  for (const more of [outcome, error, text]) if (more !== undefined) parts.push(more)
  return parts.join(', ')
}

/** Faults done to the system: the notes of the run. */
export function timelineOf(events: readonly Event[]): string[] {
  const done = ['act', 'fault', 'killed', 'terminated', 'healed']
  return events.flatMap(({ at, op, text }) => (done.includes(op) ? [`${at.toFixed(1)} ${op}: ${text}`] : []))
}

/** Evidence that a checker found; empty when the history is linearizable. A check that gave up is a failure. */
export function tellVerdict<Action>(verdict: Verdict<Action>): string[] {
  switch (verdict.verdict) {
    case 'linearizable':
      return []
    case 'unknown':
      return [`the checker gave up: ${verdict.reason}`]
    case 'not linearizable': {
      const last = verdict.order.slice(-4).map((operation) => `placed: ${tellOperation(operation)}`)
      return [
        `no order explains it. State ${verdict.state} after`,
        ...last,
        `fits nowhere: ${tellOperation(verdict.stuck)}`,
      ]
    }
    default:
      return verdict satisfies never
  }
}

function tellOperation<Action>({ process, action, invokedAt, returnedAt }: Operation<Action>): string {
  const end = returnedAt === Number.POSITIVE_INFINITY ? 'unknown' : returnedAt.toFixed(1)
  return `${process} ${JSON.stringify(action)} between ${invokedAt.toFixed(1)} and ${end}`
}
