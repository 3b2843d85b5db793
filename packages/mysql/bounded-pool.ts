/**
 * A pool none of whose answers is waited for without end: a server that is stopped, or cut off without a word, leaves its
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
 * MariaDB or MySQL gave no answer within `answerMs`. Whether the statement was done is not known; the connection is closed. The
 * command is tried again.
 */
export class MysqlUnanswered extends ConcordatError {
  readonly code = 'saga.mysql_unanswered' as const
  readonly retryable = true as const
  readonly waitedMs: number

  /** @param what was asked for: its first words */
  constructor(what: string, waitedMs: number) {
    super(
      `${what}: the server gave no answer within ${waitedMs} ms: see that it is up, or raise \`answerMs\` of mysqlResource() if its statements take longer`,
    )
    this.waitedMs = waitedMs
  }
}

/** Saying goodbye, when all else is done. */
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

  /** @throws MysqlUnanswered when none is free, or none can be made, in time */
  async getConnection(): Promise<BoundedConnection> {
    const asked = this.#pool.getConnection()
    const connection = await within(this.#clock, this.#answerMs, asked, LATE).catch(throwNotConnected)
    if (connection !== LATE) return new BoundedConnection(connection, this.#clock, this.#answerMs)
    asked.then((late) => late.release()).catch(() => {})
    return throwNotConnected(new MysqlUnanswered('a connection of the mysql2 pool', this.#answerMs))
  }
}

/** After an answer that did not come it is closed, and takes no more statements. */
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

  /** The pool says goodbye when it closes one. */
  get isGraceful(): boolean {
    return innerOf(this.#connection)?.config?.gracefulEnd === true
  }

  /** From here on a statement may wait so long for rows of others. */
  waitForRows(forMs: number): void {
    this.#rowsMs = forMs
  }

  /** The server ends the session when it hears nothing for so long. */
  endsAfter(silenceMs: number): void {
    this.#silenceMs = silenceMs
  }

  /** While it is lent, statements are a handler's: how long they take says nothing of the server. */
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
    // The driver waits for the server to close its side, too, and with it the process.
    if (this.#lost !== undefined) innerOf(this.#connection)?.stream?.destroy?.()
  }

  async #answered<T>(statement: MysqlStatement, ask: () => Promise<T>): Promise<T> {
    if (this.#lost !== undefined) throw this.#lost
    const limitMs = this.#answerMs + this.#rowsMs
    // Then it was ended because of what the handler did with it.
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

/** The driver's own connection, behind that of promises. */
function innerOf(connection: MysqlConnection): Inner | undefined {
  return (connection as { readonly connection?: Inner }).connection
}

const WORDS = 3

/** No value is in them. */
function wordsOf(text: string): string {
  return text
    .trim()
    .split(/[^A-Za-z]+/, WORDS)
    .join(' ')
}
