import type { Clock } from '../../../../core/clock.ts'
import { DeadlineExceeded, IDLE_MS, within } from '../../deadline.ts'
import { ByteReader, ByteWriter } from '../../records/bytes.ts'
import { ChunkedBytes } from '../../records/chunked-bytes.ts'
import type { KafkaConnection, KafkaReader } from '../connection-types.ts'
import { ConnectFailed, ConnectionLost } from '../errors.ts'
import type { Request } from '../protocol/request-codec.ts'

/** Makes a connection that is not connected yet. */
export type MakeConnection = () => KafkaConnection

/** A connection to a broker. Closed permanently once it fails, or a request is late on it. */
export class BrokerLink {
  readonly address: string
  readonly #clock: Clock
  readonly #connection: KafkaConnection
  #isOpen = true
  #inFlight = 0
  /** When the last request was answered, monotonic. */
  #usedAt: number

  private constructor(clock: Clock, address: string, connection: KafkaConnection) {
    this.#clock = clock
    this.address = address
    this.#connection = connection
    this.#usedAt = clock.monotonic()
    connection.on('close', () => {
      this.#isOpen = false
    })
  }

  /** @throws ConnectFailed */
  static async open(
    clock: Clock,
    make: MakeConnection,
    { host, port }: { readonly host: string; readonly port: number },
    timeoutMs: number,
  ): Promise<BrokerLink> {
    const address = `${host}:${port}`
    let link: BrokerLink | undefined
    try {
      const connection = make()
      // Requests get the same error; an error without a listener would end the process.
      connection.on('error', () => {})
      link = new BrokerLink(clock, address, connection)
      await within(clock, timeoutMs, 'connecting', Promise.resolve(connection.connect(host, port)))
      return link
    } catch (error) {
      link?.close()
      throw new ConnectFailed(
        address,
        error instanceof DeadlineExceeded ? new Error(`none within ${timeoutMs} ms`) : error,
      )
    }
  }

  get isOpen(): boolean {
    return this.#isOpen && this.#connection.isConnected() && !this.#isStale()
  }

  /**
   * @throws ConnectionLost
   * @throws DeadlineExceeded
   * @throws KafkaRefusal as the request says
   */
  async call<T>(request: Request<T>, timeoutMs: number): Promise<T> {
    this.#inFlight++
    const answering = this.#send(request)
    let answer: ChunkedBytes
    try {
      answer = await within(this.#clock, timeoutMs, `${request.name} at ${this.address}`, answering)
    } catch (error) {
      // A late answer would delay all behind it.
      this.close()
      throw error instanceof DeadlineExceeded ? error : new ConnectionLost(request.name, this.address, error)
    } finally {
      this.#inFlight--
      this.#usedAt = this.#clock.monotonic()
    }
    return request.read(new ByteReader(answer))
  }

  /** Outstanding answers are ignored. */
  close(): void {
    this.#isOpen = false
    try {
      void Promise.resolve(this.#connection.close()).catch(() => {})
    } finally {
      this.#connection.socket?.destroy()
    }
  }

  #isStale(): boolean {
    return this.#inFlight === 0 && this.#clock.monotonic() - this.#usedAt >= IDLE_MS
  }

  #send<T>(request: Request<T>): Promise<ChunkedBytes> {
    return new Promise((resolve, reject) => {
      this.#connection.send(
        request.apiKey,
        request.apiVersion,
        () => payloadOf(request),
        piecesOf,
        false,
        false,
        (error, answer) => (error === null || error === undefined ? resolve(new ChunkedBytes(answer)) : reject(error)),
      )
    })
  }
}

function payloadOf(request: Request<unknown>) {
  const writer = new ByteWriter(request.size)
  request.write(writer)
  const { bytes } = writer
  return { context: {}, dynamicBuffer: { buffers: [bytes], length: bytes.length } }
}

function piecesOf(
  _correlationId: number,
  _apiKey: number,
  _apiVersion: number,
  reader: KafkaReader,
): readonly Buffer[] {
  return reader.buffer.subarray(reader.position).buffers
}
