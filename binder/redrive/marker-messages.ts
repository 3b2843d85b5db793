/**
 * What runs leave in a dead letter channel, to tell how far they came.
 *
 * Each run puts a *mark* behind the letters and ends there. Where the broker drops the position of a group that is away (Kafka, after
 * `offsets.retention.minutes`), a run that ends also says how far it has settled, in a second message behind it: the next run goes on from
 * there. A mark without that is of a run which was killed, or is under way.
 */
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

/** The end of a run: what lies behind it came later. */
export function runMark(fields: MarkFields): EncodedMessage {
  return { ...lookMark(fields), headers: { [REDRIVE_RUN]: fields.id } }
}

/** The end of a look, which settles nothing. */
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

/** A run that began at this position and has not said how far it came. */
export interface OpenRun {
  readonly id: string
  readonly position: string
}

/** Compares positions of one partition, which differ in their last number alone. */
const { compare } = new Intl.Collator('en', { numeric: true })

/** Content of a dead letter channel's marks, read from its first message to its last. */
export class SettledByMarks {
  readonly #open: Map<string, OpenRun> = new Map()
  #settled: string | undefined

  /** Position of the last delivery that was settled for certain. */
  get settled(): string | undefined {
    return this.#settled
  }

  /** The first run that is open. */
  get open(): OpenRun | undefined {
    return this.#open.values().next().value
  }

  /** @param position of the delivery */
  read({ type, headers }: EncodedMessage, position: string): void {
    if (type !== REDRIVE_END) return
    const [run, ended, settled] = [headers[REDRIVE_RUN], headers[ENDED_RUN], headers[SETTLED]]
    if (typeof run === 'string') this.#open.set(run, { id: run, position })
    if (typeof ended !== 'string') return
    this.#open.delete(ended)
    if (typeof settled !== 'string') return
    // A run that was frozen while others went on ends last, and settled less than they did.
    if (this.#settled === undefined || compare(settled, this.#settled) > 0) this.#settled = settled
    // A run that passed the mark of another began where that one had begun, or behind it.
    for (const each of this.#open.values()) if (compare(each.position, settled) <= 0) this.#open.delete(each.id)
  }
}
