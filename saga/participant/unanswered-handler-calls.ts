/** Steps whose handler was called here without an answer: not every such call is counted as an attempt. */
import type { CommandHeaders } from '../wire/wire.ts'

/** Above the number of commands at a time. */
const MOST = 10_000
/** Holds in no key: control characters are refused in ids and names. */
const SEPARATOR = '\u001f'

/** Identity of a call of a saga's step, independent of its message. */
export function stepOf({ key, replyTo, birth, operation }: CommandHeaders): string {
  return [key, replyTo, birth, operation].join(SEPARATOR)
}

/** The oldest is forgotten first. */
export class UnansweredHandlerCalls {
  readonly #steps = new Set<string>()

  has(step: string): boolean {
    return this.#steps.has(step)
  }

  add(step: string): void {
    this.#steps.delete(step)
    this.#steps.add(step)
    if (this.#steps.size > MOST) this.#steps.delete(this.#steps.values().next().value as string)
  }

  delete(step: string): void {
    this.#steps.delete(step)
  }
}
