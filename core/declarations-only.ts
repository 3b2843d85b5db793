/**
 * A process that only reads the declarations of services, as `npx concordat asyncapi` and `topology` do. It imports a user's
 * module; nothing that the module declares may run in it.
 */
import { ConcordatError } from './errors.ts'

/** Something was started in a process that only reads declarations. Move the start to another module. */
export class ReadsDeclarationsOnly extends ConcordatError {
  readonly code = 'core.reads_declarations' as const
  readonly retryable = false as const

  constructor(what: string) {
    super(
      `${what} was called while declarations are read, where nothing may run: export them from a module that starts nothing`,
    )
  }
}

/** Shared by all copies of the package in the process. */
const MARK: unique symbol = Symbol.for('concordat.reads-declarations') as never

/** From now on, nothing starts in this process. */
export function readDeclarationsOnly(): void {
  Object.defineProperty(globalThis, MARK, { value: true, configurable: true })
}

/**
 * For work that the command line itself runs besides the declarations of a module, such as joining the bus.
 * @param start allowed until it returns or awaits for the first time
 */
export function startedByUs<T>(start: () => T): T {
  const global = globalThis as { [MARK]?: unknown }
  const mark = Object.getOwnPropertyDescriptor(global, MARK)
  delete global[MARK]
  try {
    return start()
  } finally {
    if (mark !== undefined) Object.defineProperty(global, MARK, mark)
  }
}

/** @throws ReadsDeclarationsOnly */
export function requireMayStart(what: string): void {
  if ((globalThis as { readonly [MARK]?: unknown })[MARK] === true) throw new ReadsDeclarationsOnly(what)
}
