/** Converts the JSON of a machine for the interpreter. Refuses unsupported parts with their path. */
import { parseExpression, parseTemplate } from './expression.ts'
import { JsonReader } from './json-reader.ts'
import {
  type CatchRule,
  type EndState,
  isTask,
  type Loop,
  type RetryRule,
  type State,
  type StateMachine,
  type StatusRule,
  type TaskState,
  type Verdict,
} from './machine-types.ts'

const MACHINE = [
  'Name',
  'Comment',
  'Version',
  'StartState',
  'States',
  'RecoverStrategy',
  'IsPersist',
  'IsRetryPersistModeUpdate',
  'IsCompensatePersistModeUpdate',
  'Persist',
  'Type',
  'AppName',
  'TenantId',
  'Extensions',
]
const STATE = ['Type', 'Comment', 'Next', 'Extensions', 'Name']
const TASK = [
  ...STATE,
  'CompensateState',
  'IsForCompensation',
  'IsForUpdate',
  'IsPersist',
  'IsRetryPersistModeUpdate',
  'IsCompensatePersistModeUpdate',
  'Retry',
  'Catch',
  'Input',
  'Output',
  'Status',
  'Loop',
]
const SERVICE = [...TASK, 'ServiceName', 'ServiceMethod', 'ServiceType', 'ParameterTypes', 'IsAsync']
const COMPLETE = '[nrOfInstances] == [nrOfCompletedInstances]'
const VERDICTS: readonly string[] = ['SU', 'FA', 'UN']
const EXCEPTION = /^\$Exception(?:\{(.+)\}|\.(.+))$/s

/**
 * @throws TypeError / RangeError with the path of the error and a remedy
 */
export function parseMachine(path: string, json: unknown): StateMachine {
  if (typeof json === 'object' && json !== null && 'nodes' in json) {
    throw new TypeError(`${path}.nodes: this is a file of the designer. Export the state machine's JSON from it.`)
  }
  const reading = new JsonReader(path, json, MACHINE)
  const entries = reading.entries('States')
  const states = new Map(entries.map(([name, state]) => [name, parseState(`${path}.States.${name}`, name, state)]))
  const machine: StateMachine = {
    name: reading.text('Name'),
    startState: reading.text('StartState'),
    states: withMarks(states),
  }
  if (!states.has(machine.startState)) reading.wrong('StartState', 'the name of a state in States')
  return machine
}

function parseState(path: string, name: string, json: unknown): State {
  const type = new JsonReader(path, json, Object.keys(Object(json))).text('Type')
  const parse = Object.hasOwn(PARSERS, type) ? PARSERS[type] : undefined
  if (parse !== undefined) return parse(path, name, json)
  throw new TypeError(`${path}.Type: "${type}" is not taken over. Known types: ${Object.keys(PARSERS).join(', ')}`)
}

const PARSERS: Readonly<Record<string, (path: string, name: string, json: unknown) => State>> = {
  ServiceTask: (path, name, json) => {
    const reading = new JsonReader(path, json, SERVICE)
    const calls = `${reading.text('ServiceName')}.${reading.text('ServiceMethod')}`
    return { ...task(reading, name, 'ServiceTask'), calls, isAsync: reading.flag('IsAsync') }
  },
  ScriptTask: (path, name, json) => {
    const reading = new JsonReader(path, json, [...TASK, 'ScriptType', 'ScriptContent'])
    // Seata never keeps it, and it is never for update.
    return { ...task(reading, name, 'ScriptTask'), calls: name, isForUpdate: false }
  },
  SubStateMachine: (path, name, json) => {
    const reading = new JsonReader(path, json, [...TASK, 'StateMachineName'])
    const state = task(reading, name, 'SubStateMachine')
    const compensateState = state.compensateState ?? null
    return { ...state, compensateState, isForUpdate: true, machine: reading.text('StateMachineName') }
  },
  CompensateSubMachine: (path, name, json) => ({
    ...task(new JsonReader(path, json, SERVICE), name, 'CompensateSubMachine'),
    isForCompensation: true,
  }),
  Choice: (path, name, json) => {
    const reading = new JsonReader(path, json, [...STATE, 'Choices', 'Default'])
    const choices = reading.list('Choices').map((each, n) => {
      const choice = new JsonReader(`${path}.Choices[${n}]`, each, ['Expression', 'Next', 'Comment'])
      const holds = choice.parsed('Expression', () => condition(choice.text('Expression')))
      return { holds, next: choice.text('Next') }
    })
    return { type: 'Choice', name, choices, otherwise: reading.optionalText('Default') }
  },
  CompensationTrigger: (path, name, json) => {
    const reading = new JsonReader(path, json, STATE)
    return { type: 'CompensationTrigger', name, next: reading.optionalText('Next') }
  },
  Succeed: (path, name, json) => end(new JsonReader(path, json, STATE), name, 'Succeed'),
  Fail: (path, name, json) => end(new JsonReader(path, json, [...STATE, 'ErrorCode', 'Message']), name, 'Fail'),
}

function end(reading: JsonReader, name: string, type: EndState['type']): EndState {
  return { type, name, errorCode: reading.optionalText('ErrorCode'), message: reading.optionalText('Message') }
}

function task(reading: JsonReader, name: string, type: TaskState['type']): TaskState {
  return {
    type,
    name,
    next: reading.optionalText('Next'),
    compensateState: reading.optionalText('CompensateState'),
    isForCompensation: reading.flag('IsForCompensation'),
    isForUpdate: reading.flag('IsForUpdate'),
    isAsync: false,
    calls: '',
    machine: '',
    input: reading.list('Input').map((each, n) => reading.parsed(`Input[${n}]`, () => parseTemplate(each))),
    output: reading
      .entries('Output')
      .map(([key, value]) => [key, reading.parsed(`Output.${key}`, () => parseTemplate(value))]),
    status: reading.entries('Status').map(([matcher, verdict]) => statusRule(reading, matcher, verdict)),
    retry: reading.list('Retry').map((each, n) => retryRule(`${reading.path}.Retry[${n}]`, each)),
    catches: reading.list('Catch').map((each, n) => catchRule(`${reading.path}.Catch[${n}]`, each)),
    loop: reading.has('Loop') ? loopOf(`${reading.path}.Loop`, reading.raw('Loop')) : undefined,
  }
}

function statusRule(reading: JsonReader, matcher: string, verdict: unknown): StatusRule {
  const name = `Status["${matcher}"]`
  if (typeof verdict !== 'string' || !VERDICTS.includes(verdict)) reading.wrong(name, 'SU, FA or UN', verdict)
  const [, braced, dotted] = EXCEPTION.exec(matcher) ?? []
  const exception = braced ?? dotted
  if (exception !== undefined) return { verdict: verdict as Verdict, exception: exception.trim() }
  return { verdict: verdict as Verdict, holds: reading.parsed(name, () => condition(matcher)) }
}

/** Conditions of choices and verdicts need no `$.` before them. */
function condition(source: string): ReturnType<typeof parseExpression> {
  if (!source.startsWith('$')) return parseExpression(source)
  if (source.startsWith('$.')) return parseExpression(source.slice(2))
  throw new SyntaxError(`"${source}" is no condition`)
}

function retryRule(path: string, json: unknown): RetryRule {
  const reading = new JsonReader(path, json, ['Exceptions', 'IntervalSeconds', 'MaxAttempts', 'BackoffRate', 'Comment'])
  return {
    exceptions: reading.has('Exceptions') ? reading.texts('Exceptions') : undefined,
    intervalMs: reading.number('IntervalSeconds', 0, 0) * 1_000,
    maxAttempts: reading.number('MaxAttempts', undefined, 0, true),
    backoffRate: reading.number('BackoffRate', 0, 0),
  }
}

function catchRule(path: string, json: unknown): CatchRule {
  const reading = new JsonReader(path, json, ['Exceptions', 'Next', 'Comment'])
  return { exceptions: reading.texts('Exceptions'), next: reading.text('Next') }
}

function loopOf(path: string, json: unknown): Loop {
  const reading = new JsonReader(path, json, [
    'Parallel',
    'Collection',
    'ElementVariableName',
    'ElementIndexName',
    'CompletionCondition',
  ])
  const complete = reading.optionalText('CompletionCondition') ?? COMPLETE
  return {
    parallel: reading.number('Parallel', undefined, 1, true),
    collection: reading.parsed('Collection', () => parseTemplate(reading.text('Collection'))),
    element: reading.optionalText('ElementVariableName') ?? 'loopElement',
    index: reading.optionalText('ElementIndexName') ?? 'loopCounter',
    isComplete: reading.parsed('CompletionCondition', () => condition(complete)),
  }
}

/** A state with a compensation is for update, and the compensating state is for compensation. */
function withMarks(states: ReadonlyMap<string, State>): ReadonlyMap<string, State> {
  const undoing = new Set([...states.values()].flatMap((state) => (isTask(state) ? [state.compensateState] : [])))
  return new Map(
    [...states].map(([name, state]): readonly [string, State] => {
      if (!isTask(state)) return [name, state]
      const isForUpdate = state.type !== 'ScriptTask' && (state.isForUpdate || state.compensateState !== undefined)
      return [name, { ...state, isForUpdate, isForCompensation: state.isForCompensation || undoing.has(name) }]
    }),
  )
}
