/** Rules for machines as a whole: unique names, reachable ends, and no machine that contains itself. */
import { isTask, nextOf, type State, type StateMachine } from './machine-types.ts'

/**
 * @throws TypeError with the path of the wrong state
 */
export function validateMachines(path: string, machines: ReadonlyMap<string, StateMachine>): void {
  for (const machine of machines.values()) {
    const of = `${path}("${machine.name}").States`
    requireNames(of, machine, machines)
    requireEnds(of, machine)
    requireCalls(of, machine)
    requireOwnRows(of, machine)
    requireNoRecursion(of, machine, machines)
  }
}

function requireNames(path: string, { states }: StateMachine, machines: ReadonlyMap<string, StateMachine>): void {
  for (const state of states.values()) {
    for (const next of nextOf(state)) {
      if (!states.has(next)) throw new TypeError(`${path}.${state.name}: there is no state "${next}" to go to`)
    }
    if (!isTask(state)) continue
    const { compensateState, machine } = state
    if (typeof compensateState === 'string' && !isTask(states.get(compensateState))) {
      throw new TypeError(`${path}.${state.name}.CompensateState: there is no task "${compensateState}"`)
    }
    if (machine !== '' && !machines.has(machine)) {
      throw new TypeError(
        `${path}.${state.name}.StateMachineName: there is no machine "${machine}". Give its JSON in \`machines\`.`,
      )
    }
  }
}

/** An end must be reachable from each reachable state. */
function requireEnds(path: string, { startState, states }: StateMachine): void {
  const reached = new Set<string>([startState])
  for (const name of reached) for (const next of nextOf(states.get(name) as never)) reached.add(next)
  const ending = new Set([...reached].filter((name) => canEnd(states, name)))
  for (let size = -1; size !== ending.size; ) {
    size = ending.size
    for (const name of reached) if (nextOf(states.get(name) as never).some((next) => ending.has(next))) ending.add(name)
  }
  const endless = [...reached].find((name) => !ending.has(name))
  if (endless !== undefined) throw new TypeError(`${path}.${endless}: from here the machine never ends`)
}

function canEnd(states: StateMachine['states'], name: string): boolean {
  const state = states.get(name)
  return state !== undefined && state.type !== 'Choice' && !('next' in state && state.next !== undefined)
}

/** Choices change nothing: a cycle of choices alone would never end. */
function requireCalls(path: string, { states }: StateMachine): void {
  for (const { name, type } of states.values()) {
    if (type !== 'Choice') continue
    const behind = new Set(nextOf(states.get(name) as State))
    for (const next of behind) {
      const state = states.get(next)
      if (state?.type === 'Choice') for (const further of nextOf(state)) behind.add(further)
    }
    if (!behind.has(name)) continue
    throw new TypeError(`${path}.${name}: choices alone lead back to this choice. Put a task between them.`)
  }
}

/** Items of a loop are named `Notify-loop-0`. */
function requireOwnRows(path: string, { states }: StateMachine): void {
  for (const { name } of states.values()) {
    const loop = name.slice(0, Math.max(0, name.lastIndexOf('-loop-')))
    const state = states.get(loop)
    if (!isTask(state) || state.loop === undefined) continue
    throw new TypeError(`${path}.${name}: the items of the loop "${loop}" are called so. Give this state another name.`)
  }
}

function requireNoRecursion(path: string, machine: StateMachine, machines: ReadonlyMap<string, StateMachine>): void {
  const within = new Set<string>()
  const visit = ({ states }: StateMachine): void => {
    for (const state of states.values()) {
      if (!isTask(state) || state.machine === '' || within.has(state.machine)) continue
      within.add(state.machine)
      visit(machines.get(state.machine) as StateMachine)
    }
  }
  visit(machine)
  if (within.has(machine.name)) throw new TypeError(`${path}: the machine "${machine.name}" contains itself`)
}
