/**
 * The part of `@platformatic/kafka` that this adapter uses, as structural types: its `Connection`, which makes a connection (TCP,
 * TLS, SASL) and matches requests and answers. Nothing here imports the package, and a program without it loads none of it.
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

/** The part of its `Writer` that `send` uses. */
export interface KafkaPayload {
  readonly dynamicBuffer: { readonly buffers: readonly Buffer[]; readonly length: number }
  readonly context: object
}

/** The used members of the parser's argument in `send`. */
export interface KafkaReader {
  readonly position: number
  readonly buffer: { subarray(start: number): { readonly buffers: readonly Buffer[] } }
}

/** `Connection` of `@platformatic/kafka` 2. The adapter sets its time limits, in ms: for connecting, and for any request. */
export type KafkaConnectionClass = new (
  clientId?: string,
  options?: { connectTimeout?: number; requestTimeout?: number },
) => object
