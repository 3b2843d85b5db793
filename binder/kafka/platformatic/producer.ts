import { DeadlineExceeded } from '../deadline.ts'
import type { Envelope, Producer } from '../driver.ts'
import { type ProducerIdentity, writeBatch } from '../records/batch-writer.ts'
import type { Compression } from '../wire/compression-codecs.ts'
import { RecordPlacement } from '../wire/record-placement.ts'
import { toTransportError } from './errors.ts'
import { initProducerId } from './protocol/produce.ts'
import { type Parcel, PublishCall, type SendingParts } from './publish-call.ts'

const SEQUENCES = 2 ** 31

/** Sequence numbers per partition under one identity. A batch with an unknown outcome ends it. */
class Identified {
  readonly identity: ProducerIdentity
  readonly #next = new Map<string, number>()

  constructor(identity: ProducerIdentity) {
    this.identity = identity
  }

  sequenceOf(topic: string, partition: number): number {
    return this.#next.get(`${partition} ${topic}`) ?? 0
  }

  confirmed({ topic, partition, sequence, envelopes }: Parcel): void {
    this.#next.set(`${partition} ${topic}`, (sequence + envelopes.length) % SEQUENCES)
  }
}

/**
 * An idempotent producer, one batch at a time per partition; calls for different topics may overlap. It repeats an unanswered
 * attempt with the same bytes: the broker drops duplicates. A batch whose outcome is unknown when its time limit passes costs the
 * identity, so that its numbers are not used for other records.
 */
export class IdempotentProducer implements Producer {
  readonly joinsTopics = true
  readonly #parts: SendingParts & { readonly compression: Compression }
  readonly #placement = new RecordPlacement()
  #session: Promise<Identified> | undefined
  #closed = false

  constructor(parts: SendingParts & { readonly compression: Compression }) {
    this.#parts = parts
  }

  async send(
    envelopes: readonly Envelope[],
    durationMs: number,
    onConfirmed: (envelope: Envelope) => void = noop,
  ): Promise<readonly Envelope[]> {
    const sending = new PublishCall(this.#parts, durationMs, () => this.#closed)
    let used: Promise<Identified> | undefined
    try {
      await this.#place(envelopes, sending)
      used = this.#identified(sending)
      const session = await used
      const parcels = await this.#pack(envelopes, session)
      return await sending.run(parcels, (parcel) => {
        session.confirmed(parcel)
        for (const envelope of parcel.envelopes) onConfirmed(envelope)
      })
    } catch (error) {
      throw toTransportError(error, error instanceof DeadlineExceeded ? 'waiting for a confirm' : 'publishing')
    } finally {
      if (sending.endsSession && this.#session === used) this.#session = undefined
    }
  }

  /** Returns the identity in use. The first call requests one, within its own time limit; overlapping calls share the answer. */
  #identified(sending: PublishCall): Promise<Identified> {
    if (this.#session !== undefined) return this.#session
    const asked = sending.prepare(() => this.#parts.cluster.any(initProducerId())).then((id) => new Identified(id))
    this.#session = asked
    asked.catch(() => {
      if (this.#session === asked) this.#session = undefined
    })
    return asked
  }

  close(): Promise<void> {
    this.#closed = true
    this.#parts.cluster.close()
    return Promise.resolve()
  }

  async #place(envelopes: readonly Envelope[], sending: PublishCall): Promise<void> {
    for (const envelope of envelopes) {
      if (envelope.place !== undefined) continue
      const { topic } = envelope
      const { partitions } = await sending.topic(topic)
      envelope.place = this.#placement.place(topic, envelope.key, partitions.length)
    }
  }

  async #pack(envelopes: readonly Envelope[], session: Identified): Promise<readonly Parcel[]> {
    const groups = new Map<string, Envelope[]>()
    for (const envelope of envelopes) {
      const name = `${envelope.place} ${envelope.topic}`
      const known = groups.get(name)
      if (known === undefined) groups.set(name, [envelope])
      else known.push(envelope)
    }
    const { clock, compression } = this.#parts
    const time = clock.now()
    return Promise.all(
      Array.from(groups.values(), async (group): Promise<Parcel> => {
        const { topic, place } = group[0] as Envelope
        const partition = place as number
        const sequence = session.sequenceOf(topic, partition)
        const bytes = await writeBatch(group, { time, identity: session.identity, sequence, compression })
        return { topic, partition, sequence, bytes, envelopes: group }
      }),
    )
  }
}

function noop(): void {}
