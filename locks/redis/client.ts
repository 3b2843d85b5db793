/**
 * The part of ioredis (5.11 or 6) that is used, and how our own connections differ from the client that came in.
 * The client itself is only copied from (`duplicate`): it is never used, changed or closed.
 */

/** An ioredis client, as far as `redisLocks` needs it. */
export interface RedisClient {
  duplicate(override: Readonly<Record<string, unknown>>): RedisConnectionClient
}

/** One connection of our own. */
export interface RedisConnectionClient {
  readonly status: string
  /** The socket; only corked and uncorked. */
  readonly stream?: { cork(): void; uncork(): void } | undefined
  connect(): Promise<unknown>
  disconnect(reconnect?: boolean): void
  evalsha(sha: string, keyCount: number, ...keysAndArguments: Array<string | number>): Promise<unknown>
  eval(script: string, keyCount: number, ...keysAndArguments: Array<string | number>): Promise<unknown>
  subscribe(channel: string): Promise<unknown>
  info(): Promise<string>
  on(event: string, listener: (...values: never[]) => void): unknown
}

/**
 * Fail fast: ioredis's defaults keep a command waiting for over a minute while Redis is down, and send it again after a
 * reconnect, when nobody waits for it any more. Here a command that can not be sent now, or that meets a mute server,
 * fails within `answerMs`; the connection is restored in the background.
 */
export function failFast(answerMs: number, name: string): Readonly<Record<string, unknown>> {
  return {
    lazyConnect: true,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    enableAutoPipelining: false,
    enableReadyCheck: true,
    /** Destroys a connection on which an answer is overdue; per chunk, not per command, so it costs nothing. */
    socketTimeout: answerMs,
    connectTimeout: answerMs,
    disconnectTimeout: answerMs,
    commandTimeout: undefined,
    retryStrategy: (attempt: number) => Math.min(1_000, 25 * 2 ** Math.min(attempt, 6)),
    reconnectOnError: null,
    /** ioredis would prefix channel names too, but not the ones our scripts publish to. */
    keyPrefix: '',
    protocol: 2,
    stringNumbers: false,
    connectionName: name,
  }
}

/** Opens a client from an address, with ioredis loaded when it is first needed. @throws when ioredis is not installed */
export async function clientFromUrl(url: string): Promise<RedisClient> {
  const { Redis } = await import('ioredis')
  return new Redis(url, { lazyConnect: true }) as unknown as RedisClient
}
