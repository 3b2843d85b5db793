/** The steps of a saga that is a machine of the state language: see `importStateMachine`. */
import { inSaga, type RunContext, type StepDefinition, type StepKind, stored } from 'concordat/extension'
import { type ExceptionClass, thrownBy } from './java-exceptions.ts'
import { callSignal } from './service-timeout.ts'

/** Parts shared by the steps of a saga. */
export interface MachineParts {
  /** The JSON of its machines. */
  readonly sources: readonly unknown[]
  /** Functions of tasks, by name. */
  readonly functions: ReadonlyMap<string, (...params: unknown[]) => unknown>
  readonly exceptions: Readonly<Record<string, ExceptionClass>>
  readonly timeoutMs: number
}

/** Payload of a task's row. */
interface Asked {
  readonly calls: string
  readonly key: string
  readonly undoes: boolean
  readonly params: readonly unknown[]
}

interface MachineDefinition extends StepDefinition {
  readonly parts: MachineParts
  /** Its payload, once it is a step of an instance. */
  readonly payload?: unknown
}

/** Margin so that a service's time limit becomes an exception of the machine, and does not end the attempt. */
const SPARE_MS = 30_000

/** The call is tried again by the machine's own rules, or ends its attempt. */
const ONCE = { maxAttempts: 1, backoff: { initialMs: 1, factor: 1, maxMs: 1, jitter: 0 } } as const

/** Properties of a step that calls nothing. */
const WAITING_STEP = {
  remote: false,
  transactional: true,
  pivot: false,
  compensates: false,
  invoke: ONCE,
  compensate: ONCE,
} as const

/** `<saga>/<id>` of a step's key. */
function sagaKey(key: string): string {
  return key.slice(0, key.lastIndexOf('/'))
}

function refuse(): never {
  throw new TypeError('a machine is no step to be added: use importStateMachine')
}

const COMMON = {
  spans: { outcome: undefined },
  resolve: refuse,
  graphOf: ({ parts }: MachineDefinition) => ({ machine: parts.sources }),
  tiesOf: () => ({}),
  grow: (step: MachineDefinition, { step: name, payload }: { readonly step: string; readonly payload?: unknown }) => ({
    ...step,
    name,
    payload,
  }),
} satisfies Partial<StepKind<MachineDefinition>>

/** The first step: it contains the initial variables. */
export const MACHINE: StepKind<MachineDefinition> = {
  name: 'machine',
  ...COMMON,
  async prepare({ name: step }, prepared) {
    const { input, key } = await prepared.context()
    const begin = { params: input, key: sagaKey(key) }
    return { type: 'planned', step, items: [stored(`input of ${key}`, begin, prepared.maxPayloadBytes)] }
  },
}

/** A call of a service or a script. An error is its result: the machine decides how to continue. */
export const TASK: StepKind<MachineDefinition> = {
  name: 'task',
  ...COMMON,
  prepare: (_, prepared) => (prepared.mayRun() ? undefined : { type: 'yielded', step: prepared.call.step }),
  async run({ parts, payload }, _, context: RunContext) {
    const { calls, key: step, undoes, params } = payload as Asked
    const { saga, sagaId } = context
    const key = `${sagaKey(context.key)}/${step}`
    const operation = undoes ? 'compensate' : 'invoke'
    const scope = { saga, sagaId, step, operation, key } as const
    const run = parts.functions.get(calls)
    if (run === undefined) throw new TypeError(`step "${context.step}": this release has no service "${calls}"`)
    const limit = callSignal(calls, parts.timeoutMs)
    try {
      const value = await Promise.race([inSaga(scope, async () => run(...params)), limit.passed])
      return value === undefined ? {} : { value }
    } catch (error) {
      return { thrown: thrownBy(error, parts.exceptions) }
    } finally {
      limit.cancel()
    }
  },
  unstorable: ({ parts }, error) => ({ thrown: thrownBy(error, parts.exceptions) }),
}

/** The pause between two calls of a task. */
export const PAUSE: StepKind<MachineDefinition> = {
  name: 'pause',
  ...COMMON,
  spans: { outcome: 'reply', due: 'timer' },
  prepare: ({ name: step, payload }) => ({ type: 'armed', step, ms: (payload as { readonly ms: number }).ms }),
}

/** A machine's outcome, and later actions of operators. Calls nothing. */
export const VERDICT: StepKind<MachineDefinition> = {
  name: 'verdict',
  ...COMMON,
  prepare: () => undefined,
}

/** The steps of a saga that is a machine. */
export function machineSteps(parts: MachineParts): {
  readonly machine: StepDefinition
  readonly branches: Readonly<Record<string, StepDefinition>>
} {
  const waits = { ...WAITING_STEP, parts, timeoutMs: 1 }
  const machine: MachineDefinition = { ...waits, name: 'machine', kind: MACHINE, awaits: 'plan', pivot: true }
  const task: MachineDefinition = {
    name: 'task',
    kind: TASK,
    parts,
    remote: false,
    transactional: false,
    pivot: false,
    compensates: false,
    timeoutMs: parts.timeoutMs + SPARE_MS,
    invoke: ONCE,
    compensate: ONCE,
  }
  const pause: MachineDefinition = { ...waits, name: 'pause', kind: PAUSE, awaits: 'time' }
  const verdict: MachineDefinition = { ...waits, name: 'verdict', kind: VERDICT, awaits: 'signal' }
  return {
    machine: Object.freeze(machine),
    branches: Object.freeze({ task, pause, recovery: verdict, outcome: verdict }),
  }
}
