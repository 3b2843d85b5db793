/**
 * Messages that runs leave in a dead letter channel, to record their progress.
 *
 * Each run appends a *mark* to the letters and ends there. If the broker drops the position of an inactive group (Kafka, after
 * `offsets.retention.minutes`), a run that ends also records how far it has settled, in a second message behind it, and the next
 * run continues there. A mark without this message belongs to a run that was killed, or is still running.
 */
import { isRedriveMark } from '../channel/id-namespace.ts'
import { type EncodedMessage, INTERNAL_PREFIX, REDRIVE_END } from '../channel/message.ts'
import { REDRIVE_RUN } from '../consuming/failure/dead-letter-message.ts'

const ENDED_RUN = `${INTERNAL_PREFIX}redrive-ended`
const SETTLED = `${INTERNAL_PREFIX}redrive-settled`

export interface MarkFields {
  readonly id: string
  /** Destination of the dead letters. */
  readonly destination: string
  /** Epoch ms. */
  readonly time: number
}

/** Creates the mark at the end of a run: later messages arrived after its start. */
export function runMark(fields: MarkFields): EncodedMessage {
  return { ...lookMark(fields), headers: { [REDRIVE_RUN]: fields.id } }
}

/** Creates the mark of a dry run, which settles nothing. */
export function lookMark({ id, destination, time }: MarkFields): EncodedMessage {
  return {
    id,
    destination,
    key: null,
    type: REDRIVE_END,
    source: 'concordat',
    contentType: 'application/octet-stream',
    time,
    headers: {},
    body: new Uint8Array(),
  }
}

/** @param settled position of the last delivery that the run has settled; `undefined`: none */
export function endedMark(fields: MarkFields, run: string, settled: string | undefined): EncodedMessage {
  const headers = { [ENDED_RUN]: run, ...(settled !== undefined && { [SETTLED]: settled }) }
  return { ...lookMark(fields), headers }
}

/** A run that began at this position and has not recorded its progress. */
export interface OpenRun {
  readonly id: string
  readonly position: string
}

/** Compares positions of one partition, which differ only in their last number. */
const { compare } = new Intl.Collator('en', { numeric: true })

/** Content of a dead letter channel's marks, read from its first message to its last. */
export class SettledByMarks {
  readonly #open: Map<string, OpenRun> = new Map()
  #settled: string | undefined

  /** Position of the last delivery that was certainly settled. */
  get settled(): string | undefined {
    return this.#settled
  }

  /** The first run that has not ended. */
  get open(): OpenRun | undefined {
    return this.#open.values().next().value
  }

  /** @param position of the delivery */
  read(message: EncodedMessage, position: string): void {
    if (!isRedriveMark(message)) return
    const { headers } = message
    const [run, ended, settled] = [headers[REDRIVE_RUN], headers[ENDED_RUN], headers[SETTLED]]
    if (typeof run === 'string') this.#open.set(run, { id: run, position })
    if (typeof ended !== 'string') return
    this.#open.delete(ended)
    if (typeof settled !== 'string') return
    // A run that was frozen while others continued ends last, and has settled fewer letters.
    if (this.#settled === undefined || compare(settled, this.#settled) > 0) this.#settled = settled
    // A run that passed the mark of another began where that one had begun, or later.
    for (const each of this.#open.values()) if (compare(each.position, settled) <= 0) this.#open.delete(each.id)
  }
}
