/**
 * The part of ioredis (5.11 or 6) that is used, and how our own connections differ from the client that the caller passes. The
 * client itself is only copied (`duplicate`): it is never used, changed or closed.
 */

import { SECOND } from '../clock.ts'
import { requireInteger } from '../errors.ts'
import { hasMethods, wrongKind } from '../option-checks.ts'

/** An ioredis client, as far as needed: `new Redis()`, also for Sentinel, or `new Cluster()`. */
export type RedisClient = RedisServerClient | RedisClusterClient

/** `new Redis()`: one server, or the master that Sentinel reports. */
export interface RedisServerClient {
  duplicate(override: Readonly<Record<string, unknown>>): RedisCopy
}

/** `new Cluster()`. */
export interface RedisClusterClient {
  readonly isCluster: boolean
  duplicate(startupNodes: never[], override: Readonly<Record<string, unknown>>): RedisCopy
}

/** An argument or a key; a Buffer is sent unchanged. */
export type RedisValue = string | number | Buffer

/** Members that distinguish ioredis from other clients; `RedisConnectionClient` has the rest. */
export interface RedisCopy {
  readonly status: string
  /** ioredis also accepts lists, and flattens them: that saves two copies. */
  evalsha(sha: string, keyCount: number, keys: readonly RedisValue[], args: readonly RedisValue[]): Promise<unknown>
}

/** A connection that this package opens; in a cluster, one to each node, chosen by the first key of a command. */
export interface RedisConnectionClient extends RedisCopy {
  readonly stream?: RedisSocket | undefined
  connect(): Promise<unknown>
  disconnect(reconnect?: boolean): void
  eval(script: string, keyCount: number, ...keysAndArguments: RedisValue[]): Promise<unknown>
  /** Same as the two above, with Buffers for strings in the reply. */
  evalshaBuffer(sha: string, keyCount: number, ...keysAndArguments: RedisValue[]): Promise<unknown>
  evalBuffer(script: string, keyCount: number, ...keysAndArguments: RedisValue[]): Promise<unknown>
  subscribe(channel: string): Promise<unknown>
  info(): Promise<string>
  ping(): Promise<unknown>
  call(command: string, ...args: Array<string | number>): Promise<unknown>
  /** Sent at once over one connection. */
  pipeline(commands: Array<Array<string | number>>): RedisPipeline
  on(event: string, listener: (...values: never[]) => void): unknown
  /** Only on clusters. */
  nodes?(role: 'master'): RedisNode[]
  refreshSlotsCache?(): void
}

/** The part of a socket that is used. */
export interface RedisSocket {
  cork(): void
  uncork(): void
  ref?(): unknown
  unref?(): unknown
  destroy?(error?: Error): unknown
  readonly bytesRead?: number | undefined
  readonly remoteAddress?: string | undefined
  readonly remotePort?: number | undefined
}

/** `address:port` of the connected server; undefined if there is none, or several. */
export function peerOf({ stream }: RedisConnectionClient): string | undefined {
  return stream?.remoteAddress === undefined ? undefined : `${stream.remoteAddress}:${stream.remotePort}`
}

export interface RedisPipeline {
  exec(): Promise<ReadonlyArray<readonly [error: Error | null, reply: unknown]> | null>
}

/** The connection of a cluster client to one of its nodes. */
export interface RedisNode extends RedisServerClient, RedisConnectionClient {
  readonly options: { readonly host?: string | undefined; readonly port?: number | undefined }
}

export function isCluster(client: RedisClient | RedisConnectionClient): client is RedisClusterClient {
  return 'isCluster' in client && client.isCluster
}

/** True for a client that asks Sentinel for the master. */
export function isBySentinel(client: RedisClient): boolean {
  const options = (client as { options?: { sentinels?: unknown } }).options
  return Array.isArray(options?.sentinels)
}

/** Opens one of our own connections (not yet connected), which fails fast whatever the settings of the original client. */
export function openFrom(
  source: RedisClient,
  answerMs: number,
  name: string,
  override: Readonly<Record<string, unknown>> = {},
): RedisConnectionClient {
  const copy = isCluster(source)
    ? source.duplicate([], { ...failFastCluster(answerMs, name), ...override })
    : source.duplicate({ ...failFast(answerMs, name), ...override })
  return copy as RedisConnectionClient
}

const backoffMs = (attempt: number): number => Math.min(1_000, 25 * 2 ** Math.min(attempt, 6))

/**
 * Fail fast: by default ioredis keeps a command for over a minute while Redis is unavailable, and sends it again after a
 * reconnect, when its caller has given up. Here, a command that cannot be sent now, or that meets a silent server, fails within
 * `answerMs`; the connection is restored in the background.
 */
function failFast(answerMs: number, name: string): Readonly<Record<string, unknown>> {
  return {
    ...perServer(answerMs, name),
    lazyConnect: true,
    enableOfflineQueue: false,
    retryStrategy: backoffMs,
    /** With Sentinel: never a replica, and keep asking, because giving up would end the connection permanently. */
    role: 'master',
    sentinelRetryStrategy: backoffMs,
    sentinelCommandTimeout: answerMs,
  }
}

/** The same for a cluster: nothing is sent twice, except commands that a node has refused (MOVED, ASK, TRYAGAIN). */
function failFastCluster(answerMs: number, name: string): Readonly<Record<string, unknown>> {
  return {
    lazyConnect: true,
    /** Commands wait for a node that is being connected; otherwise the second one to a new node would fail. */
    enableOfflineQueue: true,
    enableReadyCheck: true,
    enableAutoPipelining: false,
    scaleReads: 'master',
    maxRedirections: 5,
    retryDelayOnMoved: 0,
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    retryDelayOnTryAgain: 20,
    clusterRetryStrategy: backoffMs,
    clusterNodeRetryStrategy: null,
    slotsRefreshTimeout: answerMs,
    slotsRefreshInterval: 5_000,
    shardedSubscribers: false,
    keyPrefix: '',
    himportFieldsets: undefined,
    redisOptions: perServer(answerMs, name),
  }
}

/**
 * Reads a new socket once more before ioredis destroys it because of its silence. Node runs timers first: after a standstill of
 * the process, the response may already have arrived.
 */
export function readBeforeSilence(socket: RedisSocket | undefined): void {
  const destroy = socket?.destroy?.bind(socket)
  if (socket === undefined || destroy === undefined) return
  socket.destroy = (error) => {
    if (error?.message.startsWith('Socket timeout.') !== true) return destroy(error)
    const { bytesRead } = socket
    setImmediate(() => {
      if (socket.bytesRead === bytesRead) destroy(error)
    })
    return socket
  }
}

function perServer(answerMs: number, name: string): Readonly<Record<string, unknown>> {
  return {
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    enableAutoPipelining: false,
    enableReadyCheck: true,
    /** Destroys a connection with an overdue response; per chunk, not per command, so it costs nothing. */
    socketTimeout: answerMs,
    connectTimeout: answerMs,
    disconnectTimeout: answerMs,
    commandTimeout: undefined,
    reconnectOnError: null,
    readOnly: false,
    monitor: false,
    /** ioredis would also prefix channel names, but not those that our scripts publish to. */
    keyPrefix: '',
    protocol: 2,
    replyMapping: 'legacy',
    stringNumbers: false,
    himportFieldsets: undefined,
    connectionName: name,
  }
}

/** Server of a factory's own connections, by either `client` or `url`, and its maximum response time. */
export interface RedisOptions {
  /**
   * An ioredis client (`Redis` or `Cluster`) whose settings (address, TLS, password, sentinels, database) our own connections
   * copy.
   */
  readonly client?: RedisClient | undefined
  /** Instead of `client`: the address, `redis://` or `rediss://`. ioredis must be installed. */
  readonly url?: string | undefined
  /**
   * Maximum time in ms for Redis to respond or to connect, after which it counts as unavailable; at least 10. @default 1 second
   */
  readonly answerMs?: number | undefined
}

/** For the names of a factory's own options. */
export const REDIS_NAMES: Readonly<Record<keyof RedisOptions, true>> = { client: true, url: true, answerMs: true }

/** @param path the factory, for errors @throws TypeError / RangeError with the name of the option */
export function resolveRedis(path: string, options: RedisOptions): ResolvedRedis {
  const answerMs = requireInteger(`${path}.answerMs`, options.answerMs ?? 1 * SECOND, 10)
  const { client } = options
  return { client: clientSource(path, options), answerMs, isCluster: client !== undefined && isCluster(client) }
}

interface ResolvedRedis {
  /** ioredis, or how to get it. */
  readonly client: () => Promise<RedisClient>
  readonly answerMs: number
  readonly isCluster: boolean
}

/** @param path the factory, for errors @throws TypeError unless exactly one of `client` and `url` is valid */
export function clientSource(path: string, options: Pick<RedisOptions, 'client' | 'url'>): () => Promise<RedisClient> {
  const { client, url } = options
  if (client !== undefined && url === undefined) {
    if (!hasMethods(client, ['duplicate', 'evalsha'])) {
      throw wrongKind(`${path}.client`, client, 'an ioredis client: new Redis() or new Cluster()')
    }
    return () => Promise.resolve(client)
  }
  if (url !== undefined && client === undefined) {
    checkUrl(`${path}.url`, url)
    return () => clientFromUrl(url)
  }
  throw new TypeError(`${path}: expected either client (an ioredis instance) or url`)
}

/** An error shows only the protocol: the rest may contain a password. */
function checkUrl(path: string, url: unknown): void {
  const fits = typeof url === 'string' && /^rediss?:\/\//.test(url) && URL.canParse(url)
  if (fits) return checkDatabase(path, new URL(url))
  const protocol = typeof url === 'string' ? /^[a-z][a-z0-9+.-]*:\/\//i.exec(url)?.[0] : undefined
  const expected = 'redis://user:password@host:port/database or rediss://...'
  if (protocol === undefined) throw wrongKind(path, url, expected)
  throw new TypeError(`${path}: expected ${expected}, got something that begins with ${protocol}`)
}

/** ioredis would select database NaN, leave its rejection unhandled, and continue in database 0. */
function checkDatabase(path: string, { pathname, searchParams }: URL): void {
  const databases = [pathname.slice(1), searchParams.get('db') ?? '']
  if (databases.every((database) => /^\d*$/.test(database))) return
  throw new TypeError(`${path}: expected the number of a database after the last slash, or nothing`)
}

/** Opens a client from an address; ioredis is loaded when first needed. @throws if ioredis is not installed */
async function clientFromUrl(url: string): Promise<RedisClient> {
  const { Redis } = await import('ioredis')
  return new Redis(url, { lazyConnect: true }) as unknown as RedisClient
}
