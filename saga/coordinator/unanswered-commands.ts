/** Tracks commands without a reply in time, as far as this process has sent them again. */
import { counted } from '../../core/counted-noun.ts'
import { destinationOf } from '../definition/saga-destinations.ts'
import { type Operation, operationIn } from '../machine/operation.ts'
import type { SagaKey } from '../store/store-types.ts'
import type { LateStep } from './health.ts'
import type { LoadedSaga } from './loaded-saga.ts'
import type { LateCommand } from './options.ts'
import { isWaiting } from './outcome-to-event.ts'

interface Entry {
  readonly key: SagaKey
  readonly revision: number
  readonly commands: readonly LateCommand[]
}

/** Maximum number of sagas that are tracked; late commands of further ones are not counted. */
const MAX_SAGAS = 10_000

export interface SentAgain {
  readonly late: LateCommand
  /** True if no other command of its step was late before, in this saga or in others. */
  readonly isFirst: boolean
}

export class UnansweredCommands {
  readonly #sagas = new Map<string, Entry>()
  readonly #steps = new Map<string, LateStep>()
  /** Reason why a participant cannot settle a step yet, by saga. */
  readonly #waiting = new Map<string, string>()

  /** Records the last write of a saga. @returns the commands that it sent again for lack of a reply */
  seen({ saga, row }: LoadedSaga, sentAgain: boolean): readonly SentAgain[] {
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
    const again = commands.map((late) => ({ late, isFirst: !this.#steps.has(stepOf(late)) }))
    this.#forget(key)
    if (commands.length > 0) this.#keep(key, { key: { name: row.name, id: row.id }, revision: row.revision, commands })
    const reason = row.state.steps.find(
      ({ unanswered, error }) => unanswered !== undefined && error && isWaiting(error),
    )
    if (reason?.error !== undefined && commands.length > 0) this.#waiting.set(key, reason.error.message)
    if (this.#sagas.size > MAX_SAGAS) this.#forget(this.#sagas.keys().next().value as string)
    return sentAgain ? again : []
  }

  /** Forgets sagas that another instance has written since, which now tracks them. */
  async forgetWritten(ask: (keys: readonly SagaKey[]) => Promise<ReadonlyMap<string, number>>): Promise<void> {
    const asked = [...this.#sagas]
    if (asked.length === 0) return
    const revisions = await ask(asked.map(([, { key }]) => key))
    for (const [name, entry] of asked) {
      const isSame = revisions.get(name) === entry.revision
      if (!isSame && this.#sagas.get(name) === entry) this.#forget(name)
    }
  }

  steps(): readonly LateStep[] {
    return [...this.#steps.values()]
  }

  /** Returns why participants cannot settle steps yet, for health; `undefined` when none has reported a reason. */
  waiting(): string | undefined {
    const [first] = this.#waiting
    if (first === undefined) return undefined
    const [key, message] = first
    return `${counted(this.#waiting.size, 'saga')} waiting until a participant can settle a step, such as ${key}: ${message}`
  }

  #keep(name: string, entry: Entry): void {
    this.#sagas.set(name, entry)
    for (const command of entry.commands) this.#count(command, 1)
  }

  #forget(name: string): void {
    const entry = this.#sagas.get(name)
    this.#sagas.delete(name)
    this.#waiting.delete(name)
    for (const command of entry?.commands ?? []) this.#count(command, -1)
  }

  #count(command: LateCommand, change: number): void {
    const { saga, step, operation, to } = command
    const count = (this.#steps.get(stepOf(command))?.count ?? 0) + change
    if (count === 0) this.#steps.delete(stepOf(command))
    else this.#steps.set(stepOf(command), { saga, step, operation, to, count })
  }
}

function stepOf({ saga, step, operation }: LateCommand): string {
  return [saga, step, operation satisfies Operation].join('/')
}
