/**
 * The part of `@platformatic/kafka` that this adapter uses, as structure: its `Connection`, which makes a connection (TCP,
 * TLS, SASL) and keeps requests and answers together. Nothing here imports the package, and a program without it loads none
 * of it.
 */
export interface KafkaConnection {
  connect(host: string, port: number): Promise<void> | void
  isConnected(): boolean
  close(): Promise<void> | void
  send(
    apiKey: number,
    apiVersion: number,
    createPayload: () => KafkaPayload,
    responseParser: (
      correlationId: number,
      apiKey: number,
      apiVersion: number,
      reader: KafkaReader,
    ) => readonly Buffer[],
    hasRequestHeaderTaggedFields: boolean,
    hasResponseHeaderTaggedFields: boolean,
    callback: (error: Error | null, answer: readonly Buffer[]) => void,
  ): void
  on(event: 'close' | 'error', listener: () => void): unknown
  readonly socket: { destroy(): unknown } | undefined
}

/** What `send` takes from its `Writer`. */
export interface KafkaPayload {
  readonly dynamicBuffer: { readonly buffers: readonly Buffer[]; readonly length: number }
  readonly context: object
}

/** What `send` hands to a parser, as far as it is used. */
export interface KafkaReader {
  readonly position: number
  readonly buffer: { subarray(start: number): { readonly buffers: readonly Buffer[] } }
}

/** `Connection` of `@platformatic/kafka` 2. */
export type KafkaConnectionClass = new (clientId?: string, options?: KafkaConnectionOptions) => object

/** What a `Connection` is given. */
export interface KafkaConnectionOptions {
  /** Of a connection, in ms. */
  connectTimeout?: number
  /** Of any request, in ms. */
  requestTimeout?: number
}
