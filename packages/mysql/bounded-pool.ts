/**
 * A pool whose responses are all awaited for a limited time: a server that is stopped, or cut off without notice, leaves its
 * connections open and silent.
 */
import { type Clock, ConcordatError, SECOND } from 'concordat/core'
import { within } from 'concordat/extension'
import {
  type MysqlConnection,
  type MysqlPool,
  type MysqlStatement,
  serverAway,
  textOf,
  throwNotConnected,
} from './driver.ts'

/**
 * MariaDB or MySQL did not respond within `answerMs`. It is unknown whether the statement was executed; the connection is closed.
 * The command is retried.
 */
export class MysqlUnanswered extends ConcordatError {
  readonly code = 'saga.mysql_unanswered' as const
  readonly retryable = true as const
  readonly waitedMs: number

  /** @param what the first words of the statement */
  constructor(what: string, waitedMs: number) {
    super(
      `${what}: the server gave no answer within ${waitedMs} ms: see that it is up, or raise \`answerMs\` of mysqlResource() if its statements take longer`,
    )
    this.waitedMs = waitedMs
  }
}

/** Time limit of a graceful end, after everything else is done. */
const GOODBYE_MS = 2 * SECOND
const LATE = Symbol('late')

export class BoundedPool {
  readonly #pool: MysqlPool
  readonly #clock: Clock
  readonly #answerMs: number

  constructor(pool: MysqlPool, clock: Clock, answerMs: number) {
    this.#pool = pool
    this.#clock = clock
    this.#answerMs = answerMs
  }

  /** @throws MysqlUnanswered if no connection becomes free, or none can be opened, in time */
  async getConnection(): Promise<BoundedConnection> {
    const asked = this.#pool.getConnection()
    const connection = await within(this.#clock, this.#answerMs, asked, LATE).catch(throwNotConnected)
    if (connection !== LATE) return new BoundedConnection(connection, this.#clock, this.#answerMs)
    asked.then((late) => late.release()).catch(() => {})
    return throwNotConnected(new MysqlUnanswered('a connection of the mysql2 pool', this.#answerMs))
  }
}

/** After a missing response, the connection is closed and accepts no more statements. */
export class BoundedConnection implements MysqlConnection {
  readonly #connection: MysqlConnection
  readonly #clock: Clock
  readonly #answerMs: number
  #rowsMs = 0
  #silenceMs = Number.POSITIVE_INFINITY
  #answeredAt: number
  #isLent = false
  #lost: MysqlUnanswered | undefined

  constructor(connection: MysqlConnection, clock: Clock, answerMs: number) {
    this.#connection = connection
    this.#clock = clock
    this.#answerMs = answerMs
    this.#answeredAt = clock.monotonic()
  }

  /** True if the pool closes connections gracefully (COM_QUIT). */
  get isGraceful(): boolean {
    return innerOf(this.#connection)?.config?.gracefulEnd === true
  }

  /** From now on, statements may wait this long for rows that others have locked. */
  waitForRows(forMs: number): void {
    this.#rowsMs = forMs
  }

  /** The server ends the session if it receives nothing for this time. */
  endsAfter(silenceMs: number): void {
    this.#silenceMs = silenceMs
  }

  /** While the connection is lent, its statements are those of a handler: their duration says nothing about the server. */
  lend(isLent: boolean): void {
    this.#isLent = isLent
  }

  query(statement: MysqlStatement, values?: unknown[]): Promise<readonly [unknown, unknown]> {
    return this.#answered(statement, () => this.#connection.query(statement, values))
  }

  execute(statement: MysqlStatement, values?: never[]): Promise<readonly [unknown, unknown]> {
    return this.#answered(statement, () => this.#connection.execute(statement, values))
  }

  async end(): Promise<void> {
    if ((await within(this.#clock, GOODBYE_MS, this.#connection.end(), LATE)) === LATE) this.destroy()
  }

  release(): void {
    this.#connection.release()
  }

  destroy(): void {
    this.#connection.destroy()
    // The driver, and with it the process, also waits for the server to close its side.
    if (this.#lost !== undefined) innerOf(this.#connection)?.stream?.destroy?.()
  }

  async #answered<T>(statement: MysqlStatement, ask: () => Promise<T>): Promise<T> {
    if (this.#lost !== undefined) throw this.#lost
    const limitMs = this.#answerMs + this.#rowsMs
    // The server then ended the connection because of a handler's actions.
    const wasSilent = this.#clock.monotonic() - this.#answeredAt >= this.#silenceMs
    const answer = await within(this.#clock, limitMs, ask(), LATE).catch((error: unknown) => {
      throw wasSilent ? error : serverAway(error)
    })
    this.#answeredAt = this.#clock.monotonic()
    if (answer !== LATE) return answer
    this.#lost = new MysqlUnanswered(wordsOf(textOf(statement)), limitMs)
    this.destroy()
    throw this.#isLent ? this.#lost : serverAway(this.#lost)
  }
}

interface Inner {
  readonly config?: { readonly gracefulEnd?: boolean }
  readonly stream?: { destroy?(): unknown }
}

/** The driver's own connection, behind the promise wrapper. */
function innerOf(connection: MysqlConnection): Inner | undefined {
  return (connection as { readonly connection?: Inner }).connection
}

const WORDS = 3

/** Contains no values. */
function wordsOf(text: string): string {
  return text
    .trim()
    .split(/[^A-Za-z]+/, WORDS)
    .join(' ')
}
