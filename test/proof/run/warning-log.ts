import type { Event } from '../../faults/harness/events.ts'
import type { RunFolder } from './folder.ts'

/** Limit on lines for each text in each life of a run, so that repeated warnings do not fill the disk. */
const MOST = 500
/** A participant's no is part of the flow. */
const EXPECTED = 'saga command not done'

/** Warnings of the processes. */
export class WarningLog {
  readonly #folder: RunFolder
  readonly #counts = new Map<string, number>()

  constructor(folder: RunFolder) {
    this.#folder = folder
  }

  write(event: Event): void {
    const text = event.text ?? ''
    if (text === EXPECTED && event.error === undefined) return
    const count = (this.#counts.get(text) ?? 0) + 1
    this.#counts.set(text, count)
    if (count <= MOST) this.#folder.append('log', event)
  }
}
