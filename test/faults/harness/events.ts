import { appendFileSync, closeSync, openSync, readFileSync, writeSync } from 'node:fs'

/**
 * A line of a history. `invoke` opens an operation; the line with the same `id` and `ok` (it happened), `fail` (it did not) or
 * `info` (unknown) ends it; a `note` is a line of its own. Times are the machine's monotonic clock in ms, the same for all its
 * processes. A process that got an `info` continues under another name.
 */
export interface Event {
  readonly at: number
  readonly process: string
  readonly type: 'invoke' | 'ok' | 'fail' | 'info' | 'note'
  readonly op: string
  readonly id?: string | undefined
  readonly key?: string | undefined
  /** The holding of a lock, or the leading of a term, that it is about. */
  readonly grant?: string | undefined
  readonly mode?: string | undefined
  readonly token?: number | undefined
  /** End of the holder's belief, by the same clock. */
  readonly until?: number | undefined
  readonly state?: string | undefined
  readonly outcome?: string | undefined
  readonly error?: string | undefined
  readonly text?: string | undefined
  /** Pause of the event loop around this moment, in ms. */
  readonly stalledMs?: number | undefined
  readonly sink?: string | undefined
  readonly [more: string]: unknown
}

export type Details = Omit<Event, 'at' | 'process' | 'type' | 'op' | 'id'>

export function nowMs(): number {
  return Number(process.hrtime.bigint() / 1_000n) / 1_000
}

/** A worker's own history: each line is in the file before the next statement runs, so that `kill -9` loses none. */
export class EventLog {
  readonly #file: number
  readonly #name: string
  readonly #told: (event: Event) => void
  #generation = 0
  #operations = 0

  /**
   * @param told receives every event too, for observers
   */
  constructor(path: string, name: string, told: (event: Event) => void) {
    this.#file = openSync(path, 'a')
    this.#name = name
    this.#told = told
  }

  get process(): string {
    return `${this.#name}.${this.#generation}`
  }

  invoke(op: string, details: Details = {}): (type: 'ok' | 'fail' | 'info', more?: Details) => void {
    const id = `${this.process}#${++this.#operations}`
    this.#write({ at: nowMs(), process: this.process, type: 'invoke', op, id, ...details })
    return (type, more = {}) => {
      this.#write({ at: nowMs(), process: this.process, type, op, id, ...details, ...more })
      if (type === 'info') this.#generation += 1
    }
  }

  note(op: string, details: Details = {}): void {
    this.#write({ at: nowMs(), process: this.process, type: 'note', op, ...details })
  }

  close(): void {
    closeSync(this.#file)
  }

  #write(event: Event): void {
    writeSync(this.#file, `${JSON.stringify(event)}\n`)
    this.#told(event)
  }
}

/** All events of these files in the order of time. A line that a kill cut short is left out. */
export function readEvents(paths: readonly string[]): Event[] {
  return paths
    .flatMap((path) => readFileSync(path, 'utf8').split('\n'))
    .flatMap((line) => {
      try {
        return line === '' ? [] : [JSON.parse(line) as Event]
      } catch {
        return []
      }
    })
    .sort((a, b) => a.at - b.at)
}

export function writeEvents(path: string, events: readonly Event[]): void {
  appendFileSync(path, events.map((event) => `${JSON.stringify(event)}\n`).join(''))
}

/** An operation from its two lines; `end` is missing when the process died, which counts as unknown. */
export interface Recorded {
  readonly begin: Event
  readonly end: Event | undefined
}

export function operationsOf(events: readonly Event[], op: string): Recorded[] {
  const ends = new Map(events.filter(isEnd).map((event) => [event.id, event]))
  return events
    .filter((event) => event.type === 'invoke' && event.op === op)
    .map((begin) => ({ begin, end: ends.get(begin.id) }))
}

function isEnd({ type }: Event): boolean {
  return type === 'ok' || type === 'fail' || type === 'info'
}
