/** Names of repeated statements, for servers and poolers that keep prepared statements with their connection. */
import { createHash } from 'node:crypto'
import { canBeKept } from '../preparable-statement.ts'

/** Further statements get no name: each connection keeps all named ones until its end. */
const MAX_NAMED = 300
/** Texts that were sent once, of which there may be any number. */
const MAX_SEEN = 1_000

export class StatementNames {
  readonly #named = new Map<string, string>()
  readonly #seen = new Set<string>()

  /** The same for the same text, in every process; `undefined` if the statement gets no name. */
  of(text: string): string | undefined {
    const known = this.#named.get(text)
    if (known !== undefined) return known
    if (!this.#seen.has(text)) {
      if (this.#seen.size >= MAX_SEEN) this.#seen.clear()
      this.#seen.add(text)
      return undefined
    }
    if (this.#named.size >= MAX_NAMED || !canBeKept(text)) return undefined
    const name = `concordat_${createHash('sha256').update(text).digest('hex').slice(0, 32)}`
    this.#named.set(text, name)
    return name
  }
}
