/** Prints a line per case: the expected and the actual result. */
import { isDeepStrictEqual } from 'node:util'
import { until } from '../support/until.ts'

export class Report {
  #differing = 0
  #cases = 0
  readonly #skipped: string[] = []

  /** Waits for `ready` at most half a minute, then compares. A case that throws differs. */
  async check(name: string, expected: unknown, seen: () => unknown, ready: () => boolean = () => true): Promise<void> {
    this.#cases++
    let found: unknown
    try {
      await until(name, ready).catch(() => {})
      found = await seen()
    } catch (error) {
      found = String(error)
    }
    const holds = isDeepStrictEqual(found, expected)
    if (!holds) this.#differing++
    console.log(`${holds ? 'same   ' : 'DIFFERS'} | ${name} | expected ${text(expected)} | seen ${text(found)}`)
  }

  /** The cases of this name do not run, and the summary says so. */
  skip(name: string, why: string): void {
    this.#skipped.push(name)
    console.log(`skipped | ${name} | ${why}`)
  }

  /** @returns the exit code */
  end(): number {
    const skipped = this.#skipped.length === 0 ? '' : `, skipped: ${this.#skipped.join(', ')}`
    console.log(`${this.#cases} cases, ${this.#differing} differ${skipped}`)
    return this.#differing === 0 ? 0 : 1
  }
}

const text = (value: unknown): string => JSON.stringify(value) ?? 'undefined'
