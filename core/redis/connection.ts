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
  /** The process may end while no command is under way. Not with a cluster client, whose timers keep it alive. */
  readonly letsExit?: boolean | undefined
}

/** Lua, with the digest Redis knows it by. */
export interface Script {
  readonly lua: string
  readonly sha: string
}

export function defineScript(lua: string): Script {
  return { lua, sha: createHash('sha1').update(lua).digest('hex') }
}

/** Runs scripts: a connection, or one with more conditions on top. */
export interface ScriptRunner {
  /** @throws what `RedisErrors` makes of the failure */
  run(script: Script, keys: readonly RedisValue[], args: readonly RedisValue[]): Promise<unknown>
}

type PipelineReplies = ReadonlyArray<readonly [error: Error | null, reply: unknown]>

/** Connecting to a node, and an answer of it: each within `answerMs`. */
const CLUSTER_LIMIT = 2
const OVERDUE = Symbol('overdue')

/**
 * One fail-fast connection (in a cluster: one client, a connection per node), opened when first needed, restored in the
 * background forever after.
 *
 *   idle -> connecting -> ready <-> lost -> closed
 *
 * While `connecting` for the first time commands wait for it, at most `answerMs`; while `lost` they fail at once. A server
 * that turns out to be a replica is left: the next connection asks Sentinel, or the address, who is the master now.
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
    // First of the listeners for `ready`.
    this.onReady((client) => this.#idle?.connected(client.stream))
  }

  /** Called after each (re)connect, before other commands can be sent; in a cluster also when a lost node is back. */
  onReady(listener: (connection: RedisConnectionClient, first: boolean) => void): void {
    this.#session.onReady.push(listener)
  }

  /** Called for each server that may execute commands: after each (re)connect, in a cluster for each new connection to a master. */
  onServer(listener: (server: RedisConnectionClient) => void): void {
    this.#session.onServer.push(listener)
  }

  /** Called for each message of the channels that were subscribed to on this connection. */
  onMessage(listener: (channel: string, message: string) => void): void {
    this.#session.onMessage.push(listener)
  }

  /**
   * While `wanted`, finds out every `answerMs` whether the server still answers (the socket timeout drops it if not) and,
   * of a follower under Sentinel, whether it is the right one. For connections that only listen: they would never know.
   */
  verifyWhile(wanted: () => boolean): void {
    this.#session.verifyWhile(wanted)
  }

  /** `address:port` of the server connected to; undefined when there is none, or many. */
  peer(): string | undefined {
    return this.#session.peer()
  }

  health(): { readonly status: 'up' | 'down' | 'idle'; readonly detail?: string } {
    return this.#session.health()
  }

  close(): void {
    this.#session.close()
  }

  /** @throws what `errors` makes of the failure */
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
   * Scripts and one command after them, sent in one write over one connection (in a cluster: all keys in one slot), so
   * that nothing, no reconnect either, comes between.
   * @throws what `errors` makes of a failure of the command itself: `unavailable`, `unknown`, once a script was executed
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

  /** A server's connection keeps its own time limits; a cluster client has none for its redirections and queues. */
  async #inTime(answer: Promise<unknown>): Promise<unknown> {
    const { clock, answerMs } = this.#options
    const result = await within(clock, CLUSTER_LIMIT * answerMs, this.#awaited(answer), OVERDUE)
    if (result === OVERDUE) throw new Error(`Redis did not answer in ${CLUSTER_LIMIT * answerMs} ms`)
    return result
  }

  /**
   * The connected client. While there is none it rejects after a turn of the event loop, so that a caller that tries again
   * without a pause does not keep the connection from being made. @throws `errors.unavailable`, `not_done`
   */
  async ready(): Promise<RedisConnectionClient> {
    await this.#session.opened()
    const client = this.#session.current
    if (client !== undefined) return client
    await turnsOf(this.#options.clock).next()
    throw this.#failures.unavailable('not_done', this.#session.isClosed ? 'closed' : 'not connected')
  }

  /** `INFO` of one of the servers. @throws what `errors` makes of the failure, in time also when the server is lost */
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
   * The keys that match a pattern, batch by batch, over all masters. What is there all the time is found at least once.
   * @throws what `errors` makes of the failure
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

  /** A driver's error in the words of the folder, for one who sent it a command; looks for the master if that moved. */
  failed(error: unknown, client: RedisConnectionClient): Error {
    if (failureKind(error) !== 'refused') this.#session.mayHaveMoved(client, error)
    return this.translate(error)
  }

  /** A driver's error in the words of the folder. */
  translate(failure: unknown): Error {
    return this.#failures.translate(failure)
  }
}

function outcomesOf(replies: PipelineReplies, failed: (error: Error) => Error): Array<PromiseSettledResult<unknown>> {
  return replies.map(([error, value]) =>
    error === null ? { status: 'fulfilled', value } : { status: 'rejected', reason: failed(error) },
  )
}
