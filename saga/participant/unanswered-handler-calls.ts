/** Steps whose handler was called here without a reply: such calls do not always count as attempts. */
import type { CommandHeaders } from '../wire/wire.ts'

/** Higher than the number of concurrent commands. */
const MOST = 10_000
/** Cannot occur in a key: ids and names contain no control characters. */
const SEPARATOR = '\u001f'

/** Returns the identity of a call of a saga's step, independent of its message. */
export function stepOf({ key, replyTo, birth, operation }: CommandHeaders): string {
  return [key, replyTo, birth, operation].join(SEPARATOR)
}

/** Forgets the oldest entry first. */
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
