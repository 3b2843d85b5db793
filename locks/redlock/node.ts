import { type Clock, SECOND } from '../../core/clock.ts'
import { toError } from '../../core/errors.ts'
import type { Logger } from '../../core/logger.ts'
import type { RedisClient, RedisConnectionClient } from '../../core/redis/client.ts'
import { RedisConnection } from '../../core/redis/connection.ts'
import { EvictionWarning } from '../../core/redis/eviction-warning.ts'
import { infoField, minUptimeMs } from '../../core/redis/info.ts'
import type { RedisErrors } from '../../core/redis/translate-errors.ts'
import { within } from '../../core/time-limit.ts'
import type { Round } from './round.ts'
import type { NodeReply } from './timeout-queue.ts'
import type { Question } from './vote-script-calls.ts'

/** Address of a server, and its name in errors: never more of its address than host and port. */
export interface NodeSource {
  readonly name: string
  readonly client: () => Promise<RedisClient>
}

/** Internal to this file: callers see a `NodeReply`. */
class NodeSilent extends Error {
  readonly outcome: 'not_done' | 'unknown'

  constructor(outcome: 'not_done' | 'unknown', detail: string, cause: unknown) {
    super(detail, { cause })
    this.outcome = outcome
  }
}

const ERRORS: RedisErrors = {
  unavailable: (outcome, detail, cause) => new NodeSilent(outcome, detail, cause),
  refused: (cause) => cause,
}

const DROP_MS = 1 * SECOND

/** Which server it is, and how old. */
export interface Identity {
  readonly runId: string | undefined
  /** Time from which it may vote, on this process's monotonic clock. */
  readonly votesFrom: number
}

/**
 * One server of the quorum. It votes only after it has identified itself, at each connect anew: which server it is (two addresses
 * of one server have one vote), and how long it has been running (a server that may have lost a vote waits until no lease that it
 * voted for can be left; otherwise it could vote twice).
 */
export class QuorumNode {
  readonly name: string
  readonly #connection: RedisConnection
  readonly #graceMs: number
  readonly #clock: Clock
  readonly #eviction: EvictionWarning
  #identity: Identity | undefined
  /** The server that replied last, also over an earlier connection. */
  #last: Identity | undefined
  #asking: Promise<Identity> | undefined
  #opened: Promise<unknown> | undefined

  constructor(source: NodeSource, shared: { answerMs: number; graceMs: number; clock: Clock; logger: Logger }) {
    const { answerMs, clock, logger } = shared
    this.name = source.name
    this.#graceMs = shared.graceMs
    this.#clock = clock
    this.#eviction = new EvictionWarning({ name: 'locks and fencing tokens', expires: true }, logger)
    const name = 'concordat-locks-quorum'
    const { client } = source
    // A reply that comes too late costs a vote; only a longer silence justifies a new connection.
    const dropMs = Math.max(DROP_MS, 2 * answerMs)
    this.#connection = new RedisConnection({
      client,
      name,
      answerMs: dropMs,
      clock,
      logger,
      errors: ERRORS,
      letsExit: true,
    })
    this.#connection.onReady((client) => {
      this.#identity = undefined
      // A caller that needs the reply asks again.
      this.#ask(client).catch(() => {})
    })
  }

  get runId(): string | undefined {
    return this.#identity?.runId
  }

  /** Settles after the first attempt to connect, when the server has identified itself; never rejects. */
  open(answerMs: number): Promise<unknown> {
    this.#opened ??= within(this.#clock, 2 * answerMs, this.#identify(), undefined).catch(() => {})
    return this.#opened
  }

  /** Settles `voter` of the round with the outcome. @param ifNil called instead, if the reply is nil in time */
  ask(
    { script, keys, args }: Question,
    round: Round,
    voter: number,
    ifNil?: (voter: number, round: Round) => void,
  ): void {
    this.#connection.run(script, keys, args).then(
      (answer) => {
        if (answer !== null || ifNil === undefined) round.settle(voter, { kind: 'answer', answer })
        else if (round.awaits(voter)) ifNil(voter, round)
      },
      (error: unknown) => round.settle(voter, failure(error)),
    )
  }

  /**
   * Calls `put` when the server has identified itself on this connection, while the round waits for it; otherwise settles
   * `voter`.
   */
  whoIsThere(round: Round, voter: number, put: (identity: Identity) => void): void {
    // The identity stays valid as long as the connection, over which a question is sent at once.
    if (this.#identity !== undefined) return put(this.#identity)
    this.#identify().then(
      (identity) => {
        if (round.awaits(voter)) put(identity)
      },
      (error: unknown) => round.settle(voter, failure(error)),
    )
  }

  /** Why it must not vote. */
  bar({ votesFrom }: Identity): NodeReply | undefined {
    const waitMs = votesFrom === 0 ? 0 : Math.ceil(votesFrom - this.#clock.monotonic())
    if (waitMs <= 0) return undefined
    const detail = `restarted and may have forgotten votes, it votes again in ${waitMs} ms (restartGraceMs)`
    return { kind: 'silent', outcome: 'not_done', detail }
  }

  onRestored(listener: () => void): void {
    this.#connection.onReady((_client, first) => {
      if (!first) listener()
    })
  }

  health(): ReturnType<RedisConnection['health']> {
    return this.#connection.health()
  }

  close(): void {
    this.#connection.close()
  }

  async #identify(): Promise<Identity> {
    const client = await this.#connection.ready()
    if (this.#identity !== undefined) return this.#identity
    return (this.#asking ?? this.#ask(client)).catch(() => this.#ask(client))
  }

  #ask(client: RedisConnectionClient): Promise<Identity> {
    const asking = client.info().then(
      (info) => (this.#identity = this.#read(info)),
      (error: unknown) => {
        throw this.#connection.translate(error)
      },
    )
    this.#asking = asking
    return asking
  }

  #read(info: string): Identity {
    this.#eviction.check(info, this.name)
    // A server without an uptime counts as new.
    const now = this.#clock.monotonic()
    const votesFrom = this.#graceMs === 0 ? 0 : now + this.#graceMs - minUptimeMs(info)
    const runId = infoField(info, 'run_id')
    // Another server under the same address (a failover) may know nothing, however old it is.
    const replaced = this.#last !== undefined && this.#last.runId !== runId
    // The grace period of a server that replaced another one continues over a reconnect.
    const notBefore = replaced ? now + this.#graceMs : (this.#last?.votesFrom ?? 0)
    this.#last = { runId, votesFrom: Math.max(votesFrom, notBefore) }
    return this.#last
  }
}

function failure(error: unknown): NodeReply {
  if (error instanceof NodeSilent) return { kind: 'silent', outcome: error.outcome, detail: error.message }
  return { kind: 'refused', detail: toError(error).message }
}
