/** A loop: the executions of one state for the items of a list, a limited number at a time. */

import type { Frame, FramedExecution, LoopVisit } from './frame.ts'
import type { Loop, TaskState } from './machine-types.ts'
import type { StepResults, Suspended } from './replayed-step-results.ts'
import { messageOf } from './task-execution.ts'

/** Callbacks of a loop. */
export interface Turns<Result> {
  /** Indexes of the items to execute, in order. */
  readonly indexes: readonly number[]
  /** Number of first items that start without a call of `mayBegin`, since an earlier replay has started them. */
  readonly begun: number
  readonly parallel: number
  /** Executes an item. */
  make(index: number): Suspended<Result>
  /**
   * False: no more items start. Called before each new item, after all available results of the earlier ones were processed.
   */
  mayBegin(): boolean
  /** An item has ended. */
  ended(index: number, result: Result): void
}

/**
 * Executes all items, or as many as may start. Asks whether a new one may start only when no running item has another result,
 * so the answer does not depend on the order in which a replay sees the results.
 */
export function* inTurns<Result>(turns: Turns<Result>): Suspended<void> {
  const waiting = [...turns.indexes]
  const active = new Map<number, Suspended<Result>>()
  let begun = 0
  const hasRoom = (): boolean => waiting.length > 0 && active.size < turns.parallel
  const begin = (): void => {
    const index = waiting.shift() as number
    begun++
    active.set(index, turns.make(index))
  }
  for (;;) {
    while (hasRoom() && begun < turns.begun) begin()
    if (haveEnded(turns, active)) continue
    if (hasRoom() && turns.mayBegin()) begin()
    else {
      if (hasRoom()) waiting.length = 0
      if (active.size === 0) return
      yield
    }
  }
}

/** Advances each running item. False: none has ended. */
function haveEnded<Result>(turns: Turns<Result>, active: Map<number, Suspended<Result>>): boolean {
  const before = active.size
  for (const [index, one] of active) {
    const step = one.next()
    if (step.done !== true) continue
    active.delete(index)
    turns.ended(index, step.value)
  }
  return active.size < before
}

export type LoopState = TaskState & { readonly loop: Loop }

export function loops(state: TaskState): state is LoopState {
  return state.loop !== undefined
}

/** A pass over the items of a loop: all of them or, when a forward repeats the loop, the unfinished ones. */
export class LoopPass {
  readonly state: LoopState
  readonly visit: LoopVisit
  /** Items to execute: repeated ones first, then those not started. */
  readonly indexes: readonly number[]
  readonly #frame: Frame
  readonly #items: readonly unknown[]
  /** Executions of the items in an earlier pass. */
  readonly #former = new Map<number, FramedExecution>()
  /** Suffix of row names, so that the replay of an earlier pass never uses a row of this one. */
  readonly #suffix: string
  #done: number
  #active = 0
  #hasFailed = false

  /**
   * @param again the visit that is continued
   */
  constructor(frame: Frame, state: LoopState, items: readonly unknown[], again: LoopVisit | undefined) {
    this.#frame = frame
    this.state = state
    this.#items = items
    this.visit = again ?? { state }
    const pass = frame.pass(state)
    this.#suffix = pass === 0 ? '' : `.${pass}`
    for (const execution of again === undefined ? [] : frame.executions) {
      if (execution.visit === again) this.#former.set(indexIn(state, execution.name), execution)
    }
    const open = [...items.keys()].filter((index) => this.#former.get(index)?.verdict !== 'SU')
    this.indexes = [
      ...open.filter((index) => this.#former.has(index)),
      ...open.filter((index) => !this.#former.has(index)),
    ]
    this.#done = items.length - open.length
    this.#tell()
  }

  /** Number of `indexes` that an earlier replay has started, or that are repeated. They start in their order. */
  begun(rows: StepResults): number {
    const { prefix } = this.#frame
    const last = this.indexes.findLastIndex(
      (index) => this.#former.has(index) || rows.isBegun(`${prefix}${this.#rowOf(index)}`),
    )
    return last + 1
  }

  turn(index: number) {
    const { loop } = this.state
    return {
      name: this.#nameOf(index),
      row: this.#rowOf(index),
      context: { ...this.#frame.context, [loop.index]: index, [loop.element]: this.#items[index] },
      again: this.#former.get(index),
      visit: this.visit,
    }
  }

  /** An item starts. */
  begins(): void {
    this.#active++
    this.#tell()
  }

  /** An item has ended. @param isDone it counts as completed @param hasFailed no more items start */
  ends(isDone: boolean, hasFailed: boolean): void {
    this.#active--
    if (isDone) this.#done++
    if (hasFailed) this.#hasFailed = true
    this.#tell()
  }

  /** No more items start: one has failed, or the condition of the loop holds. */
  isOver(): boolean {
    if (this.#hasFailed || this.#done >= this.#items.length) return true
    try {
      return this.state.loop.isComplete(this.#frame.context) === true
    } catch (error) {
      this.#frame.raise('VariablesAssignError', `CompletionCondition of "${this.state.name}": ${messageOf(error)}`)
      return true
    }
  }

  /** Variables of the condition. They have the same values at the end of each replay. */
  #tell(): void {
    Object.assign(this.#frame.context, {
      nrOfInstances: this.#items.length,
      nrOfActiveInstances: this.#active,
      nrOfCompletedInstances: this.#done,
    })
  }

  #nameOf(index: number): string {
    return `${this.state.name}-loop-${index}`
  }

  #rowOf(index: number): string {
    return `${this.#nameOf(index)}${this.#suffix}`
  }
}

/** The collection of a loop; a state with a missing or empty collection is executed once. */
export function itemsOf(frame: Frame, { loop }: TaskState): readonly unknown[] {
  try {
    const items = loop?.collection(frame.context, () => '')
    return Array.isArray(items) ? items : []
  } catch {
    return []
  }
}

/** Context of the execution, with its item if it belongs to a loop. */
export function contextOf(frame: Frame, { name, state, visit }: FramedExecution): Readonly<Record<string, unknown>> {
  if (visit === undefined || !loops(state)) return frame.context
  const index = indexIn(state, name)
  return { ...frame.context, [state.loop.index]: index, [state.loop.element]: itemsOf(frame, state)[index] }
}

function indexIn(state: TaskState, name: string): number {
  return Number(name.slice(`${state.name}-loop-`.length))
}
