import { createHash } from 'node:crypto'
import { toError } from '../errors.ts'
import { turnsOf } from '../event-loop-turns.ts'
import { within } from '../time-limit.ts'
import { failureKind, isReply } from './classify-errors.ts'
import type { RedisConnectionClient, RedisValue } from './client.ts'
import { CoalescedSocketWrites } from './coalesced-socket-writes.ts'
import { mastersOf, ReconnectingClient, type SessionSettings } from './reconnecting-client.ts'
import { type RedisErrors, RedisErrorTranslator } from './translate-errors.ts'
import { IdleSocket } from './unref-idle-socket.ts'

export interface ConnectionSettings extends SessionSettings {
  readonly errors: RedisErrors
  /** Lets the process end while no command is in progress. Not with a cluster client, whose timers keep it alive. */
  readonly letsExit?: boolean | undefined
}

/** A Lua script with its digest. */
export interface Script {
  readonly lua: string
  readonly sha: string
}

export function defineScript(lua: string): Script {
  return { lua, sha: createHash('sha1').update(lua).digest('hex') }
}

/** Runs scripts: a connection, or one with additional conditions. */
export interface ScriptRunner {
  /** @throws the failure, translated by `RedisErrors` */
  run(script: Script, keys: readonly RedisValue[], args: readonly RedisValue[]): Promise<unknown>
}

type PipelineReplies = ReadonlyArray<readonly [error: Error | null, reply: unknown]>

/** Connecting to a node, and its reply: each within `answerMs`. */
const CLUSTER_LIMIT = 2
const OVERDUE = Symbol('overdue')

/**
 * One fail-fast connection (in a cluster: one client, a connection per node), opened when first needed and restored in the
 * background without a limit.
 *
 *   idle -> connecting -> ready <-> lost -> closed
 *
 * While `connecting` for the first time, commands wait for it, at most `answerMs`; while `lost`, they fail at once. A server that
 * turns out to be a replica is left: the next connection asks Sentinel, or the address, for the current master.
 */
export class RedisConnection implements ScriptRunner {
  readonly #options: ConnectionSettings
  readonly #writes = new CoalescedSocketWrites()
  readonly #session: ReconnectingClient
  readonly #failures: RedisErrorTranslator
  readonly #idle: IdleSocket | undefined

  constructor(options: ConnectionSettings) {
    this.#options = options
    this.#session = new ReconnectingClient(options)
    this.#failures = new RedisErrorTranslator(options.errors, this.#session)
    this.#idle = options.letsExit === true ? new IdleSocket(options.clock) : undefined
    // Registered as the first listener for `ready`.
    this.onReady((client) => this.#idle?.connected(client.stream))
  }

  /** Called after each (re)connect, before other commands can be sent; in a cluster also when a lost node is back. */
  onReady(listener: (connection: RedisConnectionClient, first: boolean) => void): void {
    this.#session.onReady.push(listener)
  }

  /**
   * Called for each server that may execute commands: after each (re)connect; in a cluster for each new connection to a master.
   */
  onServer(listener: (server: RedisConnectionClient) => void): void {
    this.#session.onServer.push(listener)
  }

  /** Called for each message of the channels subscribed on this connection. */
  onMessage(listener: (channel: string, message: string) => void): void {
    this.#session.onMessage.push(listener)
  }

  /**
   * While `wanted`, checks every `answerMs` whether the server still responds (if not, the socket timeout drops it) and, for a
   * follower under Sentinel, whether it is the right one. For connections that only listen: they would not notice otherwise.
   */
  verifyWhile(wanted: () => boolean): void {
    this.#session.verifyWhile(wanted)
  }

  /** `address:port` of the connected server; undefined if there is none, or several. */
  peer(): string | undefined {
    return this.#session.peer()
  }

  health(): { readonly status: 'up' | 'down' | 'idle'; readonly detail?: string } {
    return this.#session.health()
  }

  close(): void {
    this.#session.close()
  }

  /** @throws the failure, translated by `errors` */
  async run(script: Script, keys: readonly RedisValue[], args: readonly RedisValue[]): Promise<unknown> {
    const client = this.#session.current ?? (await this.ready())
    this.#writes.begin(client.stream)
    this.#idle?.begin()
    try {
      const answer = client.evalsha(script.sha, keys.length, keys, args)
      return await (client.nodes === undefined ? answer : this.#inTime(answer))
    } catch (error) {
      if (!isReply(error, 'NOSCRIPT')) throw this.failed(error, client)
    } finally {
      this.#writes.end()
      this.#idle?.end()
    }
    return this.#load(client, 'eval', script, keys, args)
  }

  /**
   * Scripts and one command after them, sent in one write over one connection (in a cluster: all keys in one slot), so that
   * nothing comes between, not even a reconnect.
   * @throws the failure of the command itself, translated by `errors`: `unavailable`, `unknown`, once a script was executed
   */
  async runThen(
    calls: ReadonlyArray<{ script: Script; keys: readonly string[]; args: readonly (string | number)[] }>,
    command: readonly (string | number)[],
  ): Promise<{ readonly replies: ReadonlyArray<PromiseSettledResult<unknown>>; readonly last: unknown }> {
    const client = await this.ready()
    const send = async (name: 'evalsha' | 'eval', among: typeof calls): Promise<PipelineReplies> => {
      const lines = among.map(({ script, keys, args }) => {
        return [name, name === 'eval' ? script.lua : script.sha, keys.length, ...keys, ...args]
      })
      const replies = await this.#inTime(client.pipeline([...lines, [...command]]).exec()).catch((error: unknown) => {
        throw this.failed(error, client)
      })
      return replies as PipelineReplies
    }
    let replies = await send('evalsha', calls)
    if (replies.some(([error]) => isReply(error, 'NOSCRIPT'))) replies = await send('eval', calls)
    const settled = outcomesOf(replies, (error) => this.failed(error, client))
    const last = settled.pop()
    if (last?.status === 'fulfilled') return { replies: settled, last: last.value }
    const reason: unknown = last?.reason ?? new Error('unreachable: a pipeline without replies')
    if (!settled.some(({ status }) => status === 'fulfilled')) throw reason
    throw this.#failures.unavailable('unknown', `executed, but not ${command[0]}: ${toError(reason).message}`, reason)
  }

  /** Same as `run`, with Buffers for strings in the reply. */
  async runForBuffers(script: Script, keys: readonly RedisValue[], args: readonly RedisValue[]): Promise<unknown> {
    const client = await this.ready()
    try {
      return await this.#inTime(client.evalshaBuffer(script.sha, keys.length, ...keys, ...args))
    } catch (error) {
      if (!isReply(error, 'NOSCRIPT')) throw this.failed(error, client)
    }
    return this.#load(client, 'evalBuffer', script, keys, args)
  }

  /** Loads a script that the server does not know, or no longer knows. */
  async #load(
    client: RedisConnectionClient,
    call: 'eval' | 'evalBuffer',
    script: Script,
    keys: readonly RedisValue[],
    args: readonly RedisValue[],
  ): Promise<unknown> {
    try {
      return await this.#inTime(client[call](script.lua, keys.length, ...keys, ...args))
    } catch (error) {
      throw this.failed(error, client)
    }
  }

  /** Keeps the process alive until then. */
  async #awaited<T>(answer: Promise<T>): Promise<T> {
    this.#idle?.begin()
    try {
      return await answer
    } finally {
      this.#idle?.end()
    }
  }

  /** A server's connection has its own time limits; a cluster client has none for its redirections and queues. */
  async #inTime(answer: Promise<unknown>): Promise<unknown> {
    const { clock, answerMs } = this.#options
    const result = await within(clock, CLUSTER_LIMIT * answerMs, this.#awaited(answer), OVERDUE)
    if (result === OVERDUE) throw new Error(`Redis did not answer in ${CLUSTER_LIMIT * answerMs} ms`)
    return result
  }

  /**
   * The connected client. Without one, it rejects after a turn of the event loop, so that a caller that retries without a pause
   * does not keep the connection from being opened. @throws `errors.unavailable`, `not_done`
   */
  async ready(): Promise<RedisConnectionClient> {
    await this.#session.opened()
    const client = this.#session.current
    if (client !== undefined) return client
    await turnsOf(this.#options.clock).next()
    throw this.#failures.unavailable('not_done', this.#session.isClosed ? 'closed' : 'not connected')
  }

  /** `INFO` of one of the servers. @throws the failure, translated by `errors`, in time also if the server is lost */
  async info(server: RedisConnectionClient): Promise<string> {
    try {
      return String(await this.#inTime(server.info()))
    } catch (error) {
      throw this.failed(error, server)
    }
  }

  /** The server, or all masters of the cluster. @throws `errors.unavailable`, `not_done` */
  async masters(): Promise<readonly RedisConnectionClient[]> {
    return mastersOf(await this.ready())
  }

  /**
   * The keys that match a pattern, batch by batch, over all masters. Keys that exist the whole time are found at least once.
   * @throws the failure, translated by `errors`
   */
  async *scan(match: string, count = 500): AsyncGenerator<readonly string[], void, undefined> {
    for (const server of await this.masters()) {
      let cursor = '0'
      do {
        const asking = this.#awaited(server.call('SCAN', cursor, 'MATCH', match, 'COUNT', count))
        const page = await asking.catch((error: unknown) => {
          throw this.failed(error, server)
        })
        const [next, keys] = page as [string, string[]]
        cursor = next
        if (keys.length > 0) yield keys
      } while (cursor !== '0')
    }
  }

  /** Translates a driver's error for the sender of a command; looks for the master if it has moved. */
  failed(error: unknown, client: RedisConnectionClient): Error {
    if (failureKind(error) !== 'refused') this.#session.mayHaveMoved(client, error)
    return this.translate(error)
  }

  /** Translates a driver's error. */
  translate(failure: unknown): Error {
    return this.#failures.translate(failure)
  }
}

function outcomesOf(replies: PipelineReplies, failed: (error: Error) => Error): Array<PromiseSettledResult<unknown>> {
  return replies.map(([error, value]) =>
    error === null ? { status: 'fulfilled', value } : { status: 'rejected', reason: failed(error) },
  )
}
