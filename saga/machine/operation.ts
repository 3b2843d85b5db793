/**
 * Operations of a step. All code that must know every operation reads this table: the wire checks received names, the barrier keeps a row
 * for each, the machine names the status of a step by it.
 */
interface OperationFacts {
  /** The status of a step whose operation is open. The timeline gives the beginning of each call this name, too. */
  readonly open: string
  /** True: its answer brings the step's result. */
  readonly hasResult: boolean
  /** True: the saga is on its way back while it is open. */
  readonly goesBack: boolean
}

/** The names go over the wire and into the tables: add to them, and rename none. */
export const OPERATIONS = {
  invoke: { open: 'invoking', hasResult: true, goesBack: false },
  confirm: { open: 'confirming', hasResult: false, goesBack: false },
  compensate: { open: 'compensating', hasResult: false, goesBack: true },
} as const satisfies Record<string, OperationFacts>

/** `invoke` goes forward, `compensate` undoes, `confirm` makes final what `invoke` of a TCC step only reserved. */
export type Operation = keyof typeof OPERATIONS

export type OpenStatus = (typeof OPERATIONS)[Operation]['open']

const NAMES = Object.freeze(Object.keys(OPERATIONS)) as readonly Operation[]
const BY_STATUS: ReadonlyMap<string, Operation> = new Map(NAMES.map((name) => [OPERATIONS[name].open, name]))

export function isOperation(value: unknown): value is Operation {
  return typeof value === 'string' && Object.hasOwn(OPERATIONS, value)
}

/** For error messages: `invoke, confirm or compensate`. */
export function operationNames(): string {
  return `${NAMES.slice(0, -1).join(', ')} or ${NAMES.at(-1)}`
}

/** The operation that a step of this status is in; `undefined`: none is open. */
export function operationIn(status: string): Operation | undefined {
  return BY_STATUS.get(status)
}
