/** A loop: the executions of one state, some at a time. */

import type { Frame, FramedExecution, LoopVisit } from './frame.ts'
import type { Loop, TaskState } from './machine-types.ts'
import type { StepResults, Suspended } from './replayed-step-results.ts'
import { messageOf } from './task-execution.ts'

/** Callbacks of a loop. */
export interface Turns<Result> {
  /** The indexes that are to be made, in their order. */
  readonly indexes: readonly number[]
  /** How many of them, the first ones, are begun without being asked about: an earlier replay has begun them. */
  readonly begun: number
  readonly parallel: number
  /** Begins one. */
  make(index: number): Suspended<Result>
  /** False: no more are begun. Asked before each new one, when all is heard that those before have come to. */
  mayBegin(): boolean
  /** An item has ended. */
  ended(index: number, result: Result): void
}

/**
 * Makes them all, or as many as may be begun. Whether a new one may begin is asked only when none of those at work has
 * anything more to say: so the answer does not depend on which of them a replay hears first.
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

/** Hears each of those at work. False: none has ended. */
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

/** A pass over the items of a loop: all of them or, when a forward repeats the loop, those that are not done. */
export class LoopPass {
  readonly state: LoopState
  readonly visit: LoopVisit
  /** Items to execute: repeated ones first, then those not begun. */
  readonly indexes: readonly number[]
  readonly #frame: Frame
  readonly #items: readonly unknown[]
  /** Executions of the items in an earlier pass. */
  readonly #former = new Map<number, FramedExecution>()
  /** Behind the names of rows, so that the replay of an earlier pass never takes a row of this one for its own. */
  readonly #suffix: string
  #done: number
  #active = 0
  #hasFailed = false

  /** @param again the visit that is gone on with */
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

  /** How many of `indexes` an earlier replay has begun, or are made again. They are begun in their order. */
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

  /** An item begins. */
  begins(): void {
    this.#active++
    this.#tell()
  }

  /** An item has ended. @param isDone it counts as completed @param hasFailed no more are begun */
  ends(isDone: boolean, hasFailed: boolean): void {
    this.#active--
    if (isDone) this.#done++
    if (hasFailed) this.#hasFailed = true
    this.#tell()
  }

  /** No more are begun: one has failed, or the condition of the loop holds. */
  isOver(): boolean {
    if (this.#hasFailed || this.#done >= this.#items.length) return true
    try {
      return this.state.loop.isComplete(this.#frame.context) === true
    } catch (error) {
      this.#frame.raise('VariablesAssignError', `CompletionCondition of "${this.state.name}": ${messageOf(error)}`)
      return true
    }
  }

  /** The variables of the condition. They say the same at the end of each replay. */
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

/** The collection of a loop; a state whose collection is none, or empty, is made once. */
export function itemsOf(frame: Frame, { loop }: TaskState): readonly unknown[] {
  try {
    const items = loop?.collection(frame.context, () => '')
    return Array.isArray(items) ? items : []
  } catch {
    return []
  }
}

/** Context of the execution, with its item if it was one of a loop. */
export function contextOf(frame: Frame, { name, state, visit }: FramedExecution): Readonly<Record<string, unknown>> {
  if (visit === undefined || !loops(state)) return frame.context
  const index = indexIn(state, name)
  return { ...frame.context, [state.loop.index]: index, [state.loop.element]: itemsOf(frame, state)[index] }
}

function indexIn(state: TaskState, name: string): number {
  return Number(name.slice(`${state.name}-loop-`.length))
}
