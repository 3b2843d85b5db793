import { type Clock, SECOND } from '../../core/clock.ts'
import { limitedTransaction } from '../../core/idle-limited-transaction.ts'
import { RecentFailures } from '../../core/recent-failures.ts'
import { refuseOwnTransaction, type SqlClient, type SqlResult, type SqlTransaction } from '../../core/sql.ts'
import { UnansweredCalls } from '../../core/unanswered-calls.ts'
import type { TransportError } from '../errors.ts'
import { within } from '../transport/kit/deadline.ts'
import type { TransportHealth } from '../transport/transport.ts'
import { failure, isFenced, isOfData, isOfStatement, toTransportError } from './transport-errors.ts'

/** A statement that was not repeated for this long is currently not needed. */
const FORGOTTEN_MS = 10 * SECOND

export interface StatementTerms {
  /** @default `requestTimeoutMs` of the transport */
  readonly timeoutMs?: number | undefined
  /** No message waits for it: it may take long, or be refused, without effect on `health`. */
  readonly isUpkeep?: boolean | undefined
}

/**
 * Runs the transport's statements: each has a time limit, names its purpose in errors, and affects `health`. Health is kept for
 * each kind of statement, because one may wait for the lock of the log while the session's renewal is answered.
 */
export class StatementRunner {
  readonly schema: string
  readonly #sql: SqlClient
  readonly #clock: Clock
  readonly #timeoutMs: number
  readonly #silence: UnansweredCalls
  /** By purpose, because a server that allows reading one table may refuse the next. */
  readonly #refused: RecentFailures<Error>
  /** Health of the connection to the server. */
  #health: TransportHealth = { status: 'idle' }
  /** Isolation level of the database, read once. Our functions need READ COMMITTED. */
  #isReadCommitted: boolean | undefined
  /** On a database with one connection the transport runs one statement at a time, so that others get their turn. */
  #line: Promise<unknown> | undefined

  constructor(sql: SqlClient, schema: string, clock: Clock, timeoutMs: number) {
    this.#sql = sql
    this.schema = schema
    this.#clock = clock
    this.#timeoutMs = timeoutMs
    this.#silence = new UnansweredCalls(clock)
    this.#refused = new RecentFailures(clock, FORGOTTEN_MS)
  }

  get sql(): SqlClient {
    return this.#sql
  }

  get health(): TransportHealth {
    if (this.#health.status === 'down') return this.#health
    const silent = this.#silence.error
    if (silent !== undefined) return { status: 'down', detail: `PostgreSQL: ${silent.message}` }
    const refused = this.#refused.latest()?.failure
    return refused === undefined ? this.#health : { status: 'down', detail: refused.message }
  }

  /**
   * @param what completes "could not"
   * @throws `core.sql_own_transaction`; TransportError; the server's own error if `isFenced`
   */
  query<Row extends object = Record<string, unknown>>(
    what: string,
    text: string,
    parameters: readonly unknown[] = [],
    options: StatementTerms = {},
  ): Promise<SqlResult<Row>> {
    return this.#do(what, () => this.#run<Row>(text, parameters), options)
  }

  /** Same as `query`, in a transaction that the server ends if the client does not continue. @throws the errors of `query` */
  transaction<T>(
    what: string,
    leaseMs: number,
    work: (tx: SqlTransaction) => Promise<T>,
    options: StatementTerms = {},
  ): Promise<T> {
    return this.#do(what, () => limitedTransaction(this.#sql, leaseMs, work), options)
  }

  async #do<T>(what: string, work: () => Promise<T>, options: StatementTerms): Promise<T> {
    // Before it queues, because earlier statements may wait for the end of that transaction.
    refuseOwnTransaction(this.#sql)
    try {
      const result = await this.#timed(what, this.#inTurn(work), options)
      this.#answered(what)
      return result
    } catch (cause) {
      if (isFenced(cause)) throw cause
      const error = toTransportError(what, cause, this.schema)
      this.#failed(what, error, options.isUpkeep === true)
      throw error
    }
  }

  #answered(what: string): void {
    this.#health = { status: 'up' }
    this.#refused.succeeded(what)
  }

  #failed(what: string, error: TransportError, isUpkeep: boolean): void {
    // A database that refuses the content of a message is up.
    if (isOfData(error.cause)) return this.#answered(what)
    // The missing answer already affects health.
    if (error.kind === 'timeout') return
    if (error.kind !== 'unavailable' && error.kind !== 'refused') return
    if (!isOfStatement(error.cause)) this.#health = { status: 'down', detail: error.message }
    else if (!isUpkeep) this.#refused.failed(what, error)
  }

  async #run<Row extends object>(text: string, parameters: readonly unknown[]): Promise<SqlResult<Row>> {
    this.#isReadCommitted ??= await this.#asksReadCommitted()
    if (this.#isReadCommitted) return this.#sql.query<Row>(text, parameters)
    return this.#sql.transaction((tx) => tx.query<Row>(text, parameters))
  }

  async #asksReadCommitted(): Promise<boolean> {
    const { rows } = await this.#sql.query<{ level: string }>(
      `SELECT current_setting('default_transaction_isolation') AS level`,
    )
    return rows[0]?.level === 'read committed'
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#sql.exclusive === undefined) return work()
    const turn = (this.#line ?? Promise.resolve()).then(work)
    this.#line = turn.then(nextTurn, nextTurn)
    return turn
  }

  #timed<T>(what: string, work: Promise<T>, options: StatementTerms): Promise<T> {
    const { timeoutMs = this.#timeoutMs, isUpkeep } = options
    const call = isUpkeep === true ? work : this.#silence.track(work, what)
    return within(this.#clock, timeoutMs, call, () => {
      this.#silence.giveUp(call)
      return failure('timeout', `could not ${what}: PostgreSQL did not answer within ${Math.round(timeoutMs)} ms`)
    })
  }
}

/** A loop of awaited statements runs on microtasks, so timers and sockets get their turn in between. */
const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
