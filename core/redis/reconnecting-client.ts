import type { Clock } from '../clock.ts'
import { toError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import { within } from '../time-limit.ts'
import { isFromReplica } from './classify-errors.ts'
import {
  isBySentinel,
  isCluster,
  openFrom,
  peerOf,
  type RedisClient,
  type RedisConnectionClient,
  type RedisNode,
  readBeforeSilence,
} from './client.ts'
import { redactCommandArguments } from './redact-command-arguments.ts'

export interface SessionSettings {
  /** ioredis, or how to get it. */
  readonly client: () => Promise<RedisClient>
  readonly name: string
  /** Approximate time limit of every command. */
  readonly answerMs: number
  readonly clock: Clock
  readonly logger: Logger
  /**
   * For subscriptions: with Sentinel, it stays with the server of this connection; in a cluster it connects to one of its nodes
   * (messages reach all of them), and to another one if that is lost.
   */
  readonly follows?: { ready(): Promise<RedisConnectionClient>; peer(): string | undefined } | undefined
}

const REOPEN_MS = 100

/** Keeps one client connected, see `RedisConnection`, which sends over it. */
export class ReconnectingClient {
  readonly onReady: Array<(connection: RedisConnectionClient, first: boolean) => void> = []
  readonly onServer: Array<(server: RedisConnectionClient) => void> = []
  readonly onMessage: Array<(channel: string, message: string) => void> = []
  readonly #options: SessionSettings
  /** Nodes of the cluster that were connected before. */
  readonly #met = new Set<string>()
  #client: RedisConnectionClient | undefined
  #opening: Promise<void> | undefined
  #wasReady = false
  #closed = false
  #verifying = false
  /** The address is then the server's own; otherwise it may belong to one of many proxies, or to a name. */
  #bySentinel = false
  /** The server did not select the database: ioredis reports this, and would continue in another one. */
  #isAstray = false
  /** Why it is not connected; undefined while it is. */
  lastError: Error | undefined

  constructor(options: SessionSettings) {
    this.#options = options
  }

  /** The client, if commands can be sent. */
  get current(): RedisConnectionClient | undefined {
    return this.#client?.status === 'ready' && !this.#isAstray ? this.#client : undefined
  }

  get isClosed(): boolean {
    return this.#closed
  }

  /** Settles after the first attempt to connect, or after `answerMs`; at once if that time is over. Never rejects. */
  opened(): Promise<void> {
    this.#opening ??= this.#open()
    return this.#opening
  }

  verifyWhile(wanted: () => boolean): void {
    if (this.#verifying) return
    this.#verifying = true
    this.#options.clock.setTimer(this.#options.answerMs, () => {
      this.#verifying = false
      if (this.#closed || !wanted()) return
      this.#verify()
      this.verifyWhile(wanted)
    })
  }

  #verify(): void {
    const client = this.current
    if (client === undefined) return
    client.ping().catch(() => {})
    const right = this.#bySentinel ? this.#options.follows?.peer() : undefined
    if (right !== undefined && this.peer() !== right) client.disconnect(true)
  }

  peer(): string | undefined {
    return this.current === undefined ? undefined : peerOf(this.current)
  }

  health(): { readonly status: 'up' | 'down' | 'idle'; readonly detail?: string } {
    if (this.current !== undefined) return { status: 'up' }
    if (this.#opening === undefined) return { status: 'idle' }
    return { status: 'down', detail: this.lastError?.message ?? 'not connected' }
  }

  /** Looks for the master after a failed command that suggests that it has moved. */
  mayHaveMoved(client: RedisConnectionClient, error: unknown): void {
    if (client !== this.current) return
    if (client.refreshSlotsCache !== undefined) client.refreshSlotsCache()
    else if (isFromReplica(error)) client.disconnect(true)
  }

  close(): void {
    this.#closed = true
    this.#client?.disconnect()
  }

  async #open(): Promise<void> {
    if (this.#closed) return
    try {
      const client = await this.#newClient()
      this.#client = client
      client.on('connect', () => {
        this.#isAstray = false
        readBeforeSilence(client.stream)
      })
      client.on('error', (error: Error) => {
        this.#isAstray ||= isReplyTo(error, 'select')
        this.#connectionFailed(redactCommandArguments(error))
      })
      client.on('ready', () => this.#becameReady(client))
      client.on('+node', (node: RedisNode) => this.#nodeAdded(client, node))
      client.on('end', () => this.#reopen(client))
      client.on('message', (channel: string, message: string) => {
        for (const listener of this.onMessage) listener(channel, message)
      })
      if (this.#closed) return
      // Settles when `ready`, or when the first attempt failed: `error` has reported the reason, and ioredis continues trying.
      const connected = client.connect().catch(() => {})
      await within(this.#options.clock, this.#options.answerMs, connected, undefined)
    } catch (error) {
      this.#connectionFailed(toError(redactCommandArguments(error)))
      if (this.#client === undefined) this.#opening = undefined
      else this.#reopen(this.#client)
    }
  }

  async #newClient(): Promise<RedisConnectionClient> {
    const { client, follows, answerMs, name } = this.#options
    const source = await client()
    this.#bySentinel = isBySentinel(source)
    if (follows === undefined || !isCluster(source)) return openFrom(source, answerMs, name)
    const nodes = mastersOf(await follows.ready())
    const node = nodes[Math.floor(Math.random() * nodes.length)]
    if (node === undefined) throw new Error('the cluster has no master that can be reached')
    return openFrom(node as RedisNode, answerMs, name, { retryStrategy: null })
  }

  /** ioredis has given up on this client: the next one is created for the current address of the source. */
  #reopen(ended: RedisConnectionClient): void {
    if (this.#closed || ended !== this.#client) return
    this.#options.clock.setTimer(REOPEN_MS, () => {
      if (!this.#closed && ended === this.#client) this.#opening = this.#open()
    })
  }

  #becameReady(client: RedisConnectionClient): void {
    if (client !== this.#client || this.#isAstray) return
    const first = !this.#wasReady
    this.#wasReady = true
    this.lastError = undefined
    for (const server of mastersOf(client)) this.#serverSeen(server)
    for (const listener of this.onReady) listener(client, first)
  }

  /** A connection to a node of the cluster was opened; a lost one comes back in this way. */
  #nodeAdded(client: RedisConnectionClient, node: RedisNode): void {
    const address = `${node.options.host}:${node.options.port}`
    node.on('connect', () => readBeforeSilence(node.stream))
    node.on('ready', () => {
      const known = this.#met.has(address)
      this.#met.add(address)
      if (!known || client !== this.#client || client.status !== 'ready') return
      for (const listener of this.onReady) listener(client, false)
    })
    if (client.status === 'ready' && mastersOf(client).includes(node)) this.#serverSeen(node)
  }

  #serverSeen(server: RedisConnectionClient): void {
    for (const listener of this.onServer) listener(server)
  }

  #connectionFailed(error: Error): void {
    if (this.lastError?.message !== error.message) {
      this.#options.logger.warn({ err: error, connection: this.#options.name }, 'redis connection failed')
    }
    this.lastError = error
  }
}

/** The client itself, or the connections of a cluster client to its masters. */
export function mastersOf(client: RedisConnectionClient): readonly RedisConnectionClient[] {
  return client.nodes?.('master') ?? [client]
}

/** True if the server has refused this command: ioredis adds the command to the error. */
function isReplyTo(
  error: Error & { readonly command?: { readonly name?: unknown } | undefined },
  name: string,
): boolean {
  return error.command?.name === name
}
