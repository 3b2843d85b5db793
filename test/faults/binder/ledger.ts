import { closeSync, openSync, readSync } from 'node:fs'
import type { Event } from '../harness/events.ts'

const OPS = ['send', 'work', 'audit', 'delay', 'remind'] as const
/** `send` is handled by `work`, its output by `audit`; `delay`, a send for later, by `remind`. */
export type Op = (typeof OPS)[number]

/** A line of a worker's history that is about a message. */
export interface Step extends Event {
  readonly op: Op
  readonly key: string
  readonly n: number
  /** The id of the message. */
  readonly message: string
}

/** Events written by the processes at one broker, read while they write. */
export class Ledger {
  readonly events: Event[] = []
  /** Successful operations as `key/n`. */
  readonly #done: Readonly<Record<Op, Set<string>>> = {
    send: new Set(),
    work: new Set(),
    audit: new Set(),
    delay: new Set(),
    remind: new Set(),
  }
  readonly #files: Tail[] = []

  add(path: string): void {
    this.#files.push(new Tail(path))
  }

  /** Reads the lines written since the last call. */
  read(): void {
    for (const file of this.#files) {
      for (const event of file.read()) {
        this.events.push(event)
        if (event.type === 'ok' && isStep(event)) this.#done[event.op].add(`${event.key}/${event.n}`)
      }
    }
  }

  /** Messages that were accepted and not handled to the end. */
  get missing(): string[] {
    const { send, work, audit, delay, remind } = this.#done
    const parcels = [...send].filter((name) => !work.has(name) || !audit.has(name))
    return parcels.concat([...delay].filter((name) => !remind.has(name)))
  }

  /** Successful operations of one kind, as `key/n`. */
  done(op: Op): ReadonlySet<string> {
    return this.#done[op]
  }

  /** Processes that handled this message to the end, in time order. */
  handlersOf({ key, n }: Pick<Step, 'key' | 'n'>): string[] {
    this.read()
    const own = this.events.filter(isStep).filter((step) => step.op === 'work' && step.key === key && step.n === n)
    return own.filter(({ type }) => type === 'ok').map(({ process }) => nameOf(process))
  }

  count(fits: (event: Event) => boolean): number {
    this.read()
    return this.events.reduce((sum, event) => sum + (fits(event) ? 1 : 0), 0)
  }

  close(): void {
    for (const file of this.#files) file.close()
  }
}

export function isStep(event: Event): event is Step {
  return (OPS as readonly string[]).includes(event.op)
}

/** `kafka-sender-1.7` is `kafka-sender-1` after seven unknown outcomes. */
export function nameOf(process: string): string {
  return process.slice(0, process.lastIndexOf('.'))
}

class Tail {
  readonly #file: number
  readonly #buffer = Buffer.alloc(64 * 1024)
  #offset = 0
  #rest = ''

  constructor(path: string) {
    this.#file = openSync(path, 'a+')
  }

  read(): Event[] {
    let text = this.#rest
    for (;;) {
      // Lines are ASCII: no character is cut in half.
      const bytes = readSync(this.#file, this.#buffer, 0, this.#buffer.length, this.#offset)
      if (bytes === 0) break
      this.#offset += bytes
      text += this.#buffer.toString('latin1', 0, bytes)
    }
    const lines = text.split('\n')
    this.#rest = lines.pop() ?? ''
    return lines.map((line) => JSON.parse(line) as Event)
  }

  close(): void {
    closeSync(this.#file)
  }
}
