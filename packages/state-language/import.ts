/** `importStateMachine`: imports a machine of Seata's state language as a saga. */
import type { StandardSchemaV1 } from 'concordat/core'
import {
  invalidOption,
  isDeeperThan,
  optionNames,
  refuseUnknown,
  requireInteger,
  scriptedSaga,
  stored,
  toError,
} from 'concordat/extension'
import type { Saga } from 'concordat/saga'
import { isRecord } from './expression-operators.ts'
import type { ExceptionClass } from './java-exceptions.ts'
import { isTask, type StateMachine } from './machine-types.ts'
import { nextTurn, type StateMachineOutcome } from './next-turn.ts'
import { parseMachine } from './parse-seata-machine.ts'
import { machineSteps } from './saga-step-kinds.ts'
import { validateMachines } from './validate.ts'

/** Functions by name: called with the values of `Input` as arguments. */
export type StateMachineService = Readonly<Record<string, (...params: never[]) => unknown>>

/** Options of `importStateMachine`. */
export interface StateMachineOptions {
  /**
   * Functions for `ServiceName` and `ServiceMethod`: `{ inventory: { reduce: (id, count) => ... } }`. Called at least once;
   * `currentSaga()` has the `key` for deduplication, the same for each retry and for the compensation.
   */
  readonly services: Readonly<Record<string, StateMachineService>>
  /** The JSON of the sub-machines. @default none */
  readonly machines?: readonly unknown[] | undefined
  /** Functions for ScriptTasks, by the name of the state: they receive the first value of `Input`. @default none */
  readonly scripts?: Readonly<Record<string, (params: never) => unknown>> | undefined
  /**
   * The errors that correspond to a Java class in `Retry`, `Catch` and `Status`: your own class, or a `code` or `name` of the
   * error. Without it, the part after the last dot is compared with the class, `name` and `code` of the error.
   */
  readonly exceptions?: Readonly<Record<string, ExceptionClass>> | undefined
  /** Same as for a saga: increase it whenever the machines change. @default 1 */
  readonly version?: number | undefined
  /** Same as for a saga. @default the machine's `Name` */
  readonly name?: string | undefined
  /** Time limit of a service call; afterwards it counts as a read timeout. @default 5 minutes */
  readonly timeoutMs?: number | undefined
}

/** A machine as a saga: its input is the initial variables, its result `outcome` is the outcome of the machine. */
export type StateMachineSaga = Saga<
  Readonly<Record<string, unknown>>,
  Readonly<Record<string, unknown>>,
  { readonly outcome: StateMachineOutcome }
>

const NAMES = optionNames<StateMachineOptions>({
  services: true,
  machines: true,
  scripts: true,
  exceptions: true,
  version: true,
  name: true,
  timeoutMs: true,
})
const FIVE_MINUTES = 300_000
const MAX_TIMEOUT_MS = 3_600_000
const PARAMS: StandardSchemaV1<Readonly<Record<string, unknown>>> = {
  '~standard': {
    version: 1,
    vendor: 'concordat',
    validate: (value) =>
      isRecord(value) ? { value } : { issues: [{ message: 'expected an object of start parameters' }] },
  },
}

/**
 * Creates a saga from a machine in Seata's state language, with the outcomes of Seata's engine: pass it to `createCoordinator` in
 * `sagas` and start it with the start parameters. `SU` completes the saga; `FA` without a compensation, and a successful
 * compensation, end it as `compensated`; all other outcomes are `stuck` until an operator acts: `retry` continues forward, `skip`
 * leaves out the failed state and continues after it, `compensate` undoes. Where Seata would forward or compensate an ended
 * instance, an ended saga accepts the same actions.
 * @param json of the machine, as text or parsed
 * @throws TypeError / RangeError with the path of anything invalid or not supported: see docs/transactions/state-language.md
 */
export function importStateMachine(json: unknown, options: StateMachineOptions): StateMachineSaga {
  const path = 'importStateMachine'
  refuseUnknown(path, options, NAMES)
  const { version = 1, timeoutMs = FIVE_MINUTES, exceptions = {}, scripts = {}, services } = options
  if (!isRecord(services)) throw invalidOption(`${path}.services`, services, 'an object of services by name')
  const sources = [json, ...(options.machines ?? [])].map(parsedJson)
  const [machine, ...others] = sources.map((source, n) => parseMachine(pathOf(path, source, n), source))
  const known = machinesByName(path, [machine as StateMachine, ...others])
  validateMachines(path, known)
  const first = machineSteps({
    sources: sources.map(ordered),
    functions: functionsOf(path, known, services, scripts),
    exceptions,
    timeoutMs: requireInteger(`${path}.timeoutMs`, timeoutMs, 1, MAX_TIMEOUT_MS),
  })
  requireInteger(`${path}.version`, version, 1, 1_000_000)
  return scriptedSaga({
    name: options.name ?? (machine as StateMachine).name,
    version,
    input: PARAMS,
    first: first.machine,
    branches: first.branches,
    next: (all) => nextTurn(known, machine as StateMachine, all),
  })
}

/**
 * The form of the machine that is hashed: the first matching rule of a `Status` decides, so the order of its rules is
 * significant.
 */
function ordered(source: unknown): unknown {
  if (!isRecord(source) || !isRecord(source['States'])) return source
  const states = Object.entries(source['States']).map(([name, state]) => {
    const rules = isRecord(state) ? state['Status'] : undefined
    return [name, isRecord(rules) ? { ...(state as object), Status: Object.entries(rules) } : state]
  })
  return { ...source, States: Object.fromEntries(states) }
}

function parsedJson(json: unknown): unknown {
  const source = typeof json === 'string' ? parsedText(json) : json
  if (isDeeperThan(source, MOST_LEVELS))
    throw new TypeError(`importStateMachine: the JSON is nested deeper than ${MOST_LEVELS} levels. Make it flatter`)
  try {
    return stored('importStateMachine: the JSON', source, Infinity)
  } catch (cause) {
    throw new TypeError(`${toError(cause).message}. Remove it`, { cause })
  }
}

/** Deeper than any machine from a designer. */
const MOST_LEVELS = 100

function parsedText(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new TypeError('importStateMachine: the text is no JSON', { cause })
  }
}

function pathOf(path: string, source: unknown, n: number): string {
  const name = isRecord(source) ? source['Name'] : undefined
  return typeof name === 'string' ? `${path}("${name}")` : n === 0 ? path : `${path}.machines[${n - 1}]`
}

function machinesByName(path: string, all: readonly StateMachine[]): ReadonlyMap<string, StateMachine> {
  const known = new Map<string, StateMachine>()
  for (const machine of all) {
    if (known.has(machine.name)) throw new TypeError(`${path}.machines: two machines are called "${machine.name}"`)
    known.set(machine.name, machine)
  }
  return known
}

type Run = (...params: unknown[]) => unknown

/** Functions that the tasks of all machines call. @throws TypeError for a missing one */
function functionsOf(
  path: string,
  machines: ReadonlyMap<string, StateMachine>,
  services: StateMachineOptions['services'],
  scripts: NonNullable<StateMachineOptions['scripts']>,
): ReadonlyMap<string, Run> {
  const functions = new Map<string, Run>()
  for (const machine of machines.values()) {
    for (const state of machine.states.values()) {
      if (!isTask(state) || (state.type !== 'ServiceTask' && state.type !== 'ScriptTask')) continue
      const at = `${path}("${machine.name}").States.${state.name}`
      const run = state.type === 'ScriptTask' ? scriptOf(at, state.name, scripts) : serviceOf(at, state.calls, services)
      functions.set(state.calls, run)
    }
  }
  return functions
}

function serviceOf(path: string, calls: string, services: StateMachineOptions['services']): Run {
  const dot = calls.lastIndexOf('.')
  const [service, method] = [calls.slice(0, dot), calls.slice(dot + 1)]
  const known = Object.hasOwn(services, service) ? services[service] : undefined
  if (known === undefined) throw new TypeError(`${path}.ServiceName: there is no "${service}" in \`services\``)
  const run: unknown = known[method]
  if (typeof run !== 'function') throw invalidOption(`services.${calls}`, run, `a function, which ${path} calls`)
  return (...params) => (run as Run).apply(known, params)
}

function scriptOf(path: string, name: string, scripts: NonNullable<StateMachineOptions['scripts']>): Run {
  const run: unknown = Object.hasOwn(scripts, name) ? scripts[name] : undefined
  if (typeof run === 'function') return run as Run
  throw new TypeError(
    `${path}.ScriptContent: scripts are not run. Give a function in \`scripts\` that does the same: { "${name}": (params) => ... }`,
  )
}
