/**
 * Sends statements of one transaction in one round trip of `pg`: one write, one response; repeated statements are parsed once.
 */
import { type Answer, type DriverQuery, queryClassOf, type Statement, type Wire } from './driver-internals.ts'

export type Outcome<Result> = PromiseSettledResult<Result>

/**
 * Sends all statements at once, each with parameters, in a transaction. After a statement fails at the server, all later ones
 * fail too, as they would one by one.
 * @returns the outcome of each, in order; `undefined` if this connection cannot do it, in which case nothing was sent
 */
export function sendBatch<Result>(
  connection: object,
  statements: readonly Statement[],
): Promise<readonly Outcome<Result>[]> | undefined {
  const Query = queryClassOf(connection)
  if (Query === undefined) return undefined
  const queries = statements.map((statement) => new Query(statement))
  // Without parameters it would be another protocol, in which it ends what was sent before.
  if (!queries.every((query) => query.requiresPreparation())) return undefined
  const { promise, resolve } = Promise.withResolvers<readonly Outcome<Result>[]>()
  ;(connection as { query(submittable: object): unknown }).query(new Batch(queries, resolve as Resolve))
  return promise
}

type Resolve = (outcomes: readonly Outcome<unknown>[]) => void

/** A batch as the client sees it: one query after the other, until all responses have arrived. */
class Batch {
  /** For the client, which wraps its time limit around it. */
  callback: Answer
  readonly text = ''
  readonly #queries: readonly DriverQuery[]
  readonly #outcomes: Array<Outcome<unknown> | undefined>
  /** Index of the query being answered. */
  #at = 0

  constructor(queries: readonly DriverQuery[], resolve: Resolve) {
    this.#queries = queries
    this.#outcomes = queries.map(() => undefined)
    for (const [i, query] of queries.entries()) {
      query.callback = (error, value) =>
        (this.#outcomes[i] ??= error === null ? { status: 'fulfilled', value } : { status: 'rejected', reason: error })
    }
    this.callback = (error) => resolve(this.#outcomes.map((outcome) => outcome ?? notRun(error)))
  }

  /** The client's setting of how values are read. */
  get _result(): { _types: unknown } {
    const queries = this.#queries
    return {
      get _types() {
        return undefined
      },
      set _types(types: unknown) {
        for (const { _result } of queries) if (_result !== undefined) _result._types ??= types
      },
    }
  }

  set binary(isBinary: boolean) {
    for (const query of this.#queries) query.binary = isBinary
  }

  submit(connection: Wire): null {
    const chunks: Uint8Array[] = []
    const gathering = gatheringInto(chunks, connection)
    const each = withoutSync(gathering)
    for (const [i, query] of this.#queries.entries()) {
      const error = query.submit(each)
      // Refused by the driver: nothing of it was sent.
      if (error !== null) this.#outcomes[i] = { status: 'rejected', reason: error }
    }
    gathering.sync()
    connection.stream.write(Buffer.concat(chunks))
    this.#skip()
    return null
  }

  handleCommandComplete(message: unknown, connection: Wire): void {
    this.#current?.handleCommandComplete(message, connection)
    this.#next(connection)
  }

  handleEmptyQuery(connection: Wire): void {
    this.#current?.handleEmptyQuery(connection)
    this.#next(connection)
  }

  handleRowDescription(message: unknown): void {
    this.#current?.handleRowDescription(message)
  }

  handleDataRow(message: unknown): void {
    this.#current?.handleDataRow(message)
  }

  handlePortalSuspended(connection: Wire): void {
    this.#current?.handlePortalSuspended(connection)
  }

  handleCopyInResponse(connection: Wire): void {
    this.#current?.handleCopyInResponse(connection)
  }

  handleCopyData(message: unknown, connection: Wire): void {
    this.#current?.handleCopyData(message, connection)
  }

  handleError(error: Error, connection: Wire): void {
    this.#current?.handleError(error, connection)
    this.callback(error)
  }

  handleReadyForQuery(): void {
    this.callback(null)
  }

  get #current(): DriverQuery | undefined {
    return this.#queries[this.#at]
  }

  /** Its rows are complete. */
  #next(connection: Wire): void {
    this.#current?.handleReadyForQuery(connection)
    this.#at++
    this.#skip()
  }

  /** Skips the responses of queries that were not sent. */
  #skip(): void {
    while (this.#at < this.#queries.length && this.#outcomes[this.#at] !== undefined) this.#at++
  }
}

/** Many small writes cost more than their content. */
function gatheringInto(chunks: Uint8Array[], connection: Wire): Wire {
  const stream = { writable: true, write: (chunk: Uint8Array) => chunks.push(chunk), destroy: NOTHING }
  return Object.create(connection, { stream: { value: stream } }) as Wire
}

const NOTHING = (): void => {}

/** Without the end of each statement, and without parsing the previous statement again. */
function withoutSync(wire: Wire): Wire {
  let parsed: string | undefined
  return Object.create(wire, {
    sync: { value: NOTHING },
    // A statement whose parameters cannot be sent is unnamed, so nothing needs to be closed.
    close: { value: NOTHING },
    parse: {
      value: (statement: { readonly text: string }) => {
        if (parsed !== statement.text) wire.parse(statement)
        parsed = statement.text
      },
    },
  }) as Wire
}

/** in_failed_sql_transaction: the server's response to statements after a failure. */
function notRun(cause: Error | null): Outcome<never> {
  const reason = new Error('a statement before this one failed, so it was not run', { cause })
  return { status: 'rejected', reason: Object.assign(reason, { code: '25P02' }) }
}
