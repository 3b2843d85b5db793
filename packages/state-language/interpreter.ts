/**
 * Runs a machine by replaying its saga's results up to the first missing one. Pure: the same steps give the same answer, so a
 * process may die anywhere and another one continues. The rules are those of Seata's engine as it runs.
 */

import { toBeCompensated, verdictOf } from './execution-verdicts.ts'
import { Frame, type FramedExecution, withoutNulls } from './frame.ts'
import { isA } from './java-exceptions.ts'
import { contextOf, inTurns, itemsOf, LoopPass, type LoopState, loops } from './looping.ts'
import { isTask, type StateMachine, type TaskState, type Verdict } from './machine-types.ts'
import type { StepResults, Suspended } from './replayed-step-results.ts'
import { type CallsResult, called, messageOf, outputOf, parametersOf, type TaskPayload } from './task-execution.ts'
import { afterLoop, choose, ended, fail, lastForward, type Made, type Next, raised } from './transitions.ts'

/** Input of an execution. */
interface Turn {
  readonly name: string
  /** Name of its row, if different. */
  readonly row?: string | undefined
  readonly context: Readonly<Record<string, unknown>>
  /** The execution that this one repeats. */
  readonly again?: FramedExecution | undefined
  /** The loop whose item it is. */
  readonly visit?: FramedExecution['visit']
}

export class Interpreter {
  readonly #machines: ReadonlyMap<string, StateMachine>
  readonly #rows: StepResults
  readonly #key: string

  /**
   * @param key of the saga: business keys begin with it
   */
  constructor(machines: ReadonlyMap<string, StateMachine>, rows: StepResults, key: string) {
    this.#machines = machines
    this.#rows = rows
    this.#key = key
  }

  /** Runs from a state to an end. @param again the execution that its first state repeats */
  *run(frame: Frame, from: string, again?: FramedExecution): Suspended<void> {
    let next: Next = from
    let retried = again
    let asked = this.#rows.asked
    for (let moves = 1; next !== undefined; moves++) {
      if (asked !== this.#rows.asked) moves = 1
      asked = this.#rows.asked
      // Nothing was called since the last visit here: this cycle would never end.
      if (moves > 2 * frame.machine.states.size) {
        frame.raise('StateMachineEndless', `"${next}" leads back to itself, and nothing is called on the way`)
        return
      }
      const state = frame.machine.states.get(next)
      if (isTask(state)) next = yield* this.#task(frame, state, retried)
      else if (state?.type === 'Choice') next = choose(frame, state)
      else if (state?.type === 'CompensationTrigger') {
        next = (yield* this.#compensateAll(frame)) ? (state.next ?? ended(frame)) : undefined
      } else {
        if (state?.type === 'Fail') fail(frame, state)
        next = ended(frame)
      }
      retried = undefined
    }
  }

  /** Compensates everything that is to be compensated, on an operator's request. */
  *compensate(frame: Frame): Suspended<void> {
    if (frame.compensation === 'SU') return
    Object.assign(frame, { raised: undefined, isForward: false })
    if (yield* this.#compensateAll(frame)) frame.end()
  }

  /**
   * Repeats the failed execution and continues from there; `skips`: leaves it out and continues after it.
   * @returns false when there is no execution to continue from
   */
  *forward(frame: Frame, skips: boolean): Suspended<boolean> {
    if (frame.verdict === 'SU' && frame.compensation === undefined) return false
    const last = lastForward(frame)
    if (last === undefined) return false
    const before = frame.compensation
    const isOpen = last.visit !== undefined && last.visit === frame.openLoop
    const goesOn = skips || (last.verdict === 'SU' && !isOpen)
    if (goesOn && last.state.next === undefined) return false
    Object.assign(frame, { isForward: true, isFailEnd: false, verdict: undefined })
    Object.assign(frame, { raised: undefined, thrown: undefined, exception: undefined, openLoop: undefined })
    if (skips && last.verdict !== 'SU') last.isSuperseded = true
    if (goesOn) yield* this.run(frame, last.state.next as string)
    else yield* this.run(frame, last.state.name, last)
    // Everything before it was compensated; later executions were not.
    if (before === 'SU' && frame.compensation === 'SU' && frame.verdict !== 'SU' && hasEffects(frame))
      frame.compensation = 'UN'
    return true
  }

  /**
   * @returns the next state
   */
  *#task(frame: Frame, state: TaskState, again: FramedExecution | undefined): Suspended<Next> {
    const items = itemsOf(frame, state)
    if (loops(state) && items.length > 0) return yield* this.#loop(frame, state, items, again)
    const { raised, thrown, caught, output } = yield* this.#execute(frame, state, {
      name: state.name,
      context: frame.context,
      again: again?.name === state.name ? again : undefined,
    })
    if (raised !== undefined) return undefined
    Object.assign(frame.context, output)
    if (thrown === undefined) return caught ?? state.next ?? ended(frame)
    frame.fail(thrown)
    return undefined
  }

  *#execute(frame: Frame, state: TaskState, turn: Turn): Suspended<Made> {
    const { name, again, visit } = turn
    const row = this.#rows.unique(`${frame.prefix}${turn.row ?? name}`)
    let params: ReturnType<typeof parametersOf>
    try {
      params = parametersOf(state, turn.context, `${this.#key}-${row}`)
    } catch (error) {
      return raised(frame, 'VariablesAssignError', `Input of "${state.name}": ${messageOf(error)}`)
    }
    if (again !== undefined) again.isSuperseded = true
    if (params.sequence !== undefined) frame.context[`${state.name}_business_key_`] = params.sequence
    if (state.type === 'SubStateMachine') return yield* this.#sub(frame, state, turn, row, params.values)
    const keyRow = again?.keyRow ?? row
    const execution = state.type === 'ScriptTask' ? undefined : frame.execution({ row, name, state, keyRow, visit })
    const payload: TaskPayload = { calls: state.calls, key: keyRow, undoes: false, params: params.values }
    const result = yield* called(this.#rows, row, state, payload)
    return this.#judged(frame, state, execution, { ...result, inDoubt: result.inDoubt || mayHaveEffect(again) })
  }

  /** Runs a machine as a state: its end is the value, and an error of the engine an exception. */
  *#sub(
    frame: Frame,
    state: TaskState,
    { name, again, visit }: Turn,
    row: string,
    [given]: readonly unknown[],
  ): Suspended<Made> {
    const params = withoutNulls(Object(given) as Record<string, unknown>)
    const goesOn = again?.frame !== undefined && again.frame.compensation !== 'SU'
    const sub = goesOn
      ? (again.frame as Frame)
      : new Frame(this.#machines.get(state.machine) as StateMachine, `${row}/`, params)
    const execution = frame.execution({ row, name, state, frame: sub, visit })
    if (goesOn) {
      Object.assign(sub.context, params)
      yield* this.forward(sub, false)
    } else yield* this.run(sub, sub.machine.startState)
    if (sub.raised !== undefined) return this.#judged(frame, state, execution, { thrown: sub.raised })
    const verdict = sub.verdictForCaller(frame.isForward)
    const value = { ...sub.context, _sub_statemachine_execution_status_: verdict }
    return this.#judged(frame, state, execution, { value }, verdict)
  }

  /** The verdict, and the next state after an exception. @param known verdict unless a rule decides otherwise */
  #judged(
    frame: Frame,
    state: TaskState,
    execution: FramedExecution | undefined,
    { value, thrown, inDoubt = false }: Partial<CallsResult>,
    known?: Verdict,
  ): Made {
    const caught = thrown && state.catches.find(({ exceptions }) => exceptions.some((name) => isA(thrown, name)))?.next
    let verdict: Verdict | undefined
    let output: Record<string, unknown>
    try {
      verdict = verdictOf(state, value, thrown, inDoubt) ?? known
      output = outputOf(state, value)
    } catch (error) {
      if (execution !== undefined) execution.verdict = state.isForUpdate ? 'UN' : 'FA'
      return raised(frame, 'VariablesAssignError', `Status or Output of "${state.name}": ${messageOf(error)}`)
    }
    // A sub-machine's result takes precedence over "no rule, no exception: succeeded".
    if (known !== undefined && state.status.length === 0 && thrown === undefined) verdict = known
    if (execution !== undefined) execution.verdict = verdict ?? (state.isForUpdate ? 'UN' : 'FA')
    if (verdict === undefined)
      return raised(frame, 'NoMatchedStatus', `no status of "${state.name}" matches its result`)
    // A verdict of success clears its exception.
    const left = verdict === 'SU' ? undefined : thrown
    if (thrown !== undefined) frame.exception = left
    return { output, verdict, caught, thrown: caught === undefined ? left : undefined }
  }

  /**
   * @returns the next state when all started executions have ended
   */
  *#loop(
    frame: Frame,
    state: LoopState,
    items: readonly unknown[],
    again: FramedExecution | undefined,
  ): Suspended<Next> {
    const { compensation } = frame
    const pass = new LoopPass(frame, state, items, again?.visit)
    const made = new Map<number, Made>()
    yield* inTurns<Made>({
      indexes: pass.indexes,
      parallel: state.loop.parallel,
      begun: pass.begun(this.#rows),
      mayBegin: () => !pass.isOver(),
      make: (index) => {
        pass.begins()
        return this.#execute(frame, state, pass.turn(index))
      },
      ended: (index, result) => {
        made.set(index, result)
        const isThrown = result.thrown !== undefined || result.caught !== undefined || result.raised !== undefined
        pass.ends(!isThrown, isThrown || result.verdict !== 'SU')
      },
    })
    const all = [...made].toSorted(([a], [b]) => a - b).map(([, each]) => each)
    if (all.length > 0) frame.context['loopResult'] = all.map(({ output }) => output)
    return afterLoop(frame, pass, compensation, all)
  }

  /** The last one first. @returns false when that ended the machine */
  *#compensateAll(frame: Frame): Suspended<boolean> {
    const undoable = toBeCompensated(frame.executions) as readonly FramedExecution[]
    const lost = undoable.find(({ state }) => state.isForUpdate && state.compensateState === undefined)
    if (lost !== undefined) {
      frame.raise('CompensationStateNotFound', `"${lost.name}" is for update, and has no CompensateState`)
      return false
    }
    const stack = undoable.filter(({ state }) => state.compensateState !== undefined)
    if (stack.length === 0) {
      frame.end()
      return false
    }
    frame.thrown = frame.exception ?? frame.thrown
    Object.assign(frame, { exception: undefined, compensation: 'RU', undoing: [], left: stack.length })
    frame.verdict ??= 'UN'
    for (const execution of stack.toReversed()) {
      frame.left--
      const { thrown, raised: wrong, caught, verdict } = yield* this.#undo(frame, execution)
      if (wrong !== undefined) return false
      if (thrown !== undefined) {
        frame.fail(thrown)
        return false
      }
      if (caught === undefined && verdict === 'SU') continue
      frame.end()
      return false
    }
    return true
  }

  *#undo(frame: Frame, undone: FramedExecution): Suspended<Made> {
    const named = undone.state.compensateState
    const state = typeof named === 'string' ? (frame.machine.states.get(named) as TaskState) : undoingItself(undone)
    const row = this.#rows.unique(`${frame.prefix}${state.name}`)
    const execution = frame.execution({ row, name: state.name, state })
    undone.compensation = execution
    frame.undoing.push(execution)
    let params: ReturnType<typeof parametersOf>
    try {
      params = parametersOf(state, contextOf(frame, undone), `${this.#key}-${row}`)
    } catch (error) {
      return raised(frame, 'VariablesAssignError', `Input of "${state.name}": ${messageOf(error)}`)
    }
    if (state.type === 'CompensateSubMachine')
      return yield* this.#undoSub(frame, state, execution, undone, params.values)
    const payload: TaskPayload = { calls: state.calls, key: undone.keyRow, undoes: true, params: params.values }
    const judged = this.#judged(frame, state, execution, yield* called(this.#rows, row, state, payload))
    Object.assign(frame.context, judged.output)
    return judged
  }

  *#undoSub(
    frame: Frame,
    state: TaskState,
    execution: FramedExecution,
    { frame: sub }: FramedExecution,
    [given]: readonly unknown[],
  ): Suspended<Made> {
    if (sub === undefined) return raised(frame, 'ObjectNotExists', `"${state.name}" undoes no machine`)
    Object.assign(sub.context, withoutNulls(Object(given) as Record<string, unknown>))
    yield* this.compensate(sub)
    if (sub.raised !== undefined) return this.#judged(frame, state, execution, { thrown: sub.raised })
    const verdict = sub.compensation === undefined || sub.compensation === 'RU' ? 'SU' : sub.compensation
    return this.#judged(frame, state, execution, { value: { ...sub.context } }, verdict)
  }
}

/** A repeated execution may have taken effect, and nothing has compensated it. */
function mayHaveEffect(again: FramedExecution | undefined): boolean {
  return again !== undefined && again.verdict !== 'FA' && again.compensation?.verdict !== 'SU'
}

/** Whether there is anything to compensate. */
function hasEffects({ executions }: Frame): boolean {
  return toBeCompensated(executions).some(({ state }) => state.isForUpdate || state.compensateState !== undefined)
}

/** A sub-machine without a compensating state compensates itself. */
function undoingItself({ name, state }: FramedExecution): TaskState {
  const nothing = { input: [], output: [], status: [], retry: [], catches: [], loop: undefined, next: undefined }
  const type = 'CompensateSubMachine'
  return { ...state, ...nothing, type, name: `Compensate ${name}`, isForCompensation: true, isForUpdate: false }
}
