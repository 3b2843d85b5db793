/** Decides by their text which statements of a database stay prepared. */

import { canBeKept, isKeepable } from '../preparable-statement.ts'

/** Statements after which a prepared statement may no longer match its tables. */
const CHANGES_TABLES = /\b(?:CREATE|ALTER|DROP|DISCARD|DEALLOCATE)\b/i
/** Beyond this number, the least recently used one is dropped. */
const MAX_KEPT = 300

/** A statement that PostgreSQL has under a name. */
export interface Prepared<Message> {
  readonly name: string
  /** Types of its parameters. */
  readonly types: readonly number[]
  /** Description of its rows, if it returns any. */
  readonly columns: readonly Message[]
}

export class PreparedStatements<Message> {
  /** By text, the most recently used last. Undefined: it was run once, like many. */
  readonly #kept = new Map<string, Prepared<Message> | undefined>()
  #leftover: string[] = []
  #named = 0

  has(text: string): boolean {
    return this.#kept.get(text) !== undefined
  }

  /** `prepare`: it was run before, and is to be prepared now. */
  use(text: string): Prepared<Message> | 'prepare' | 'once' {
    const isKnown = this.#kept.has(text)
    if (!isKnown && !canBeKept(text)) return 'once'
    const prepared = this.#kept.get(text)
    this.keep(text, prepared)
    if (prepared !== undefined) return prepared
    return isKnown ? 'prepare' : 'once'
  }

  newName(): string {
    return `concordat_${++this.#named}`
  }

  keep(text: string, prepared: Prepared<Message> | undefined): void {
    this.#kept.delete(text)
    this.#kept.set(text, prepared)
    const [oldest] = this.#kept.keys()
    if (this.#kept.size > MAX_KEPT && oldest !== undefined) this.forget(oldest)
  }

  forget(text: string): void {
    const name = this.#kept.get(text)?.name
    this.#kept.delete(text)
    if (name !== undefined) this.#leftover.push(name)
  }

  /** To be called after every statement: it may have changed the tables of others. */
  ran(text: string): void {
    if (!CHANGES_TABLES.test(text) || isKeepable(text)) return
    for (const each of this.#kept.keys()) this.forget(each)
  }

  /** Names that PostgreSQL still has, returned once: the caller closes them. */
  takeLeftover(): readonly string[] {
    const leftover = this.#leftover
    this.#leftover = []
    return leftover
  }
}
