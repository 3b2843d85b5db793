import type { ByteReader, ByteWriter } from '../../records/bytes.ts'

/** A request of Kafka's protocol in one version, and the reader of its answer. */
export interface Request<T> {
  readonly apiKey: number
  readonly apiVersion: number
  /** For errors: `Fetch`. */
  readonly name: string
  /** Expected bytes of the request, so that it is written without copies. */
  readonly size?: number | undefined
  write(to: ByteWriter): void
  read(from: ByteReader): T
}
