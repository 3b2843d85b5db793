/**
 * Operations of a step. All code that must know every operation reads this table: the wire checks received names, the barrier
 * stores a row for each, the machine names the status of a step by it.
 */
interface OperationFacts {
  /** Status of a step whose operation is open. The timeline also uses this name for the beginning of each call. */
  readonly open: string
  /** True: its reply contains the step's result. */
  readonly hasResult: boolean
  /** True: the saga is being undone while it is open. */
  readonly goesBack: boolean
}

/** These names are on the wire and in tables: add names, but never rename one. */
export const OPERATIONS = {
  invoke: { open: 'invoking', hasResult: true, goesBack: false },
  confirm: { open: 'confirming', hasResult: false, goesBack: false },
  compensate: { open: 'compensating', hasResult: false, goesBack: true },
} as const satisfies Record<string, OperationFacts>

/** `invoke` goes forward, `compensate` undoes, `confirm` makes the reservation of a TCC step's `invoke` final. */
export type Operation = keyof typeof OPERATIONS

export type OpenStatus = (typeof OPERATIONS)[Operation]['open']

const NAMES = Object.freeze(Object.keys(OPERATIONS)) as readonly Operation[]
const BY_STATUS: ReadonlyMap<string, Operation> = new Map(NAMES.map((name) => [OPERATIONS[name].open, name]))

export function isOperation(value: unknown): value is Operation {
  return typeof value === 'string' && Object.hasOwn(OPERATIONS, value)
}

/** Lists the names for error messages: `invoke, confirm or compensate`. */
export function operationNames(): string {
  return `${NAMES.slice(0, -1).join(', ')} or ${NAMES.at(-1)}`
}

/** Returns the operation of a step with this status; `undefined`: none is open. */
export function operationIn(status: string): Operation | undefined {
  return BY_STATUS.get(status)
}
