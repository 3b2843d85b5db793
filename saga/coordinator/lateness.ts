/** Which commands are not answered in time, as far as this process has sent them again. */
import type { Clock } from '../../core/clock.ts'
import { MINUTE } from '../../core/clock.ts'
import { destinationOf } from '../definition/ties.ts'
import { type Operation, operationIn } from '../machine/operation.ts'
import type { LateStep } from './health.ts'
import type { LateCommand } from './options.ts'
import type { Snapshot } from './plan.ts'

interface Entry {
  readonly commands: readonly LateCommand[]
  readonly at: number
}

/** The sagas that are remembered: what is late beyond them is not counted. */
const MAX_SAGAS = 10_000
/** Longer than the pause between two calls: after that another process sends them, or nobody. */
const FORGOTTEN_AFTER_MS = 30 * MINUTE

export class Lateness {
  readonly #clock: Clock
  readonly #sagas = new Map<string, Entry>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Looks at what was written last. @returns the commands that were sent again with it for want of an answer */
  seen({ saga, row }: Snapshot, sentAgain: boolean): readonly LateCommand[] {
    const key = `${row.name}/${row.id}`
    const commands = row.state.steps.flatMap((state, index): LateCommand[] => {
      const step = saga.steps[index]
      const operation = operationIn(state.status)
      if (step === undefined || operation === undefined || state.unanswered === undefined) return []
      const to = destinationOf(step)
      if (to === undefined) return []
      const { attempts } = state
      return [{ saga: row.name, id: row.id, step: state.step, operation, to: to.name, attempts }]
    })
    this.#sagas.delete(key)
    if (commands.length > 0) this.#sagas.set(key, { commands, at: this.#clock.monotonic() })
    if (this.#sagas.size > MAX_SAGAS) this.#sagas.delete(this.#sagas.keys().next().value as string)
    return sentAgain ? commands : []
  }

  steps(): readonly LateStep[] {
    const counts = new Map<string, LateStep>()
    const oldest = this.#clock.monotonic() - FORGOTTEN_AFTER_MS
    for (const [key, { commands, at }] of this.#sagas) {
      if (at < oldest) this.#sagas.delete(key)
      else for (const command of commands) count(counts, command)
    }
    return [...counts.values()]
  }
}

function count(counts: Map<string, LateStep>, { saga, step, operation, to }: LateCommand): void {
  const key = [saga, step, operation satisfies Operation].join('/')
  counts.set(key, { saga, step, operation, to, count: (counts.get(key)?.count ?? 0) + 1 })
}
