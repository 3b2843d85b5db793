/** Which commands are not answered in time, as far as this process has sent them again. */
import { destinationOf } from '../definition/ties.ts'
import { type Operation, operationIn } from '../machine/operation.ts'
import type { SagaKey } from '../store/rows.ts'
import type { LateStep } from './health.ts'
import type { LateCommand } from './options.ts'
import type { Snapshot } from './plan.ts'

interface Entry {
  readonly key: SagaKey
  readonly revision: number
  readonly commands: readonly LateCommand[]
}

/** The sagas that are remembered: what is late beyond them is not counted. */
const MAX_SAGAS = 10_000

export class Lateness {
  readonly #sagas = new Map<string, Entry>()

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
    if (commands.length > 0)
      this.#sagas.set(key, { key: { name: row.name, id: row.id }, revision: row.revision, commands })
    if (this.#sagas.size > MAX_SAGAS) this.#sagas.delete(this.#sagas.keys().next().value as string)
    return sentAgain ? commands : []
  }

  /** Forgets sagas that another instance has written since: that one knows what is late. */
  async forgetWritten(ask: (keys: readonly SagaKey[]) => Promise<ReadonlyMap<string, number>>): Promise<void> {
    const asked = [...this.#sagas]
    if (asked.length === 0) return
    const revisions = await ask(asked.map(([, { key }]) => key))
    for (const [name, entry] of asked) {
      const isSame = revisions.get(name) === entry.revision
      if (!isSame && this.#sagas.get(name) === entry) this.#sagas.delete(name)
    }
  }

  steps(): readonly LateStep[] {
    const counts = new Map<string, LateStep>()
    for (const { commands } of this.#sagas.values()) for (const command of commands) count(counts, command)
    return [...counts.values()]
  }
}

function count(counts: Map<string, LateStep>, { saga, step, operation, to }: LateCommand): void {
  const key = [saga, step, operation satisfies Operation].join('/')
  counts.set(key, { saga, step, operation, to, count: (counts.get(key)?.count ?? 0) + 1 })
}
