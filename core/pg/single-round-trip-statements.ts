/**
 * Several statements in one round trip of `pg`: `BEGIN` before the first statement of a transaction (as the JDBC driver does),
 * and `COMMIT` after its last one. A `Submittable` is sent, like that of `pg-cursor`; the driver's own query object does the
 * rest.
 */
import { type Answer, type DriverQuery, queryClassOf, type Statement, type Wire } from './driver-internals.ts'

/** Statements without parameters or rows that share the round trip of another one. */
export interface Enclosure {
  readonly before: readonly string[]
  /** Only run if the statement has succeeded. */
  readonly after: readonly string[]
}

export interface EnclosedAnswer<Result> {
  readonly result: Result
  /** Command tag of the last statement of `after`: `COMMIT`. */
  readonly tag: string | undefined
}

/**
 * Sends all of them at once. A failure ends all later ones.
 * @returns `undefined` if this connection cannot, in which case nothing was sent: it is not a `pg.Client`, or one in pipeline
 * mode
 */
export function sendEnclosed<Result>(
  connection: object,
  statement: Statement,
  enclosure: Enclosure,
): Promise<EnclosedAnswer<Result>> | undefined {
  const Query = queryClassOf(connection)
  if (Query === undefined) return undefined
  const query = new Query(statement)
  // Without parameters it would be another protocol, in which it ends what was sent before.
  if (!query.requiresPreparation()) return undefined
  const { promise, resolve, reject } = Promise.withResolvers<EnclosedAnswer<Result>>()
  const sent = new Sent(query, enclosure)
  query.callback = (error, result) => {
    if (error === null) resolve({ result: result as Result, tag: sent.tag })
    else reject(error)
  }
  ;(connection as { query(submittable: object): unknown }).query(sent)
  return promise
}

/** The query as the client sees it; its responses come between those of `before` and those of `after`. */
class Sent {
  tag: string | undefined
  readonly #query: DriverQuery
  readonly #enclosure: Enclosure
  #answered = 0

  constructor(query: DriverQuery, enclosure: Enclosure) {
    this.#query = query
    this.#enclosure = enclosure
  }

  get text(): unknown {
    return this.#query.text
  }

  /** Only when it is its turn: the client treats each parsed statement as the one with this name. */
  get name(): string | undefined {
    return this.#answered === this.#enclosure.before.length ? this.#query.name : undefined
  }

  get _result(): unknown {
    return this.#query._result
  }

  get callback(): Answer | undefined {
    return this.#query.callback
  }

  set callback(answer: Answer | undefined) {
    this.#query.callback = answer
  }

  set binary(isBinary: boolean) {
    this.#query.binary = isBinary
  }

  submit(connection: Wire): null {
    const { stream } = connection
    stream.cork?.()
    try {
      for (const text of this.#enclosure.before) send(connection, text)
      let hasFailed = false
      // The query ends with a sync, and closes itself if a value cannot be sent.
      const wire = Object.create(connection, {
        sync: { value: () => undefined },
        close: { value: () => (hasFailed = true) },
      }) as Wire
      const error = this.#query.submit(wire)
      // Half of it was sent, and no caller waits for the response.
      if (error !== null) stream.destroy(error)
      if (!hasFailed) for (const text of this.#enclosure.after) send(connection, text)
      connection.sync()
    } finally {
      stream.uncork?.()
    }
    return null
  }

  handleCommandComplete(message: { readonly text?: string }, connection: Wire): void {
    if (this.#answered++ === this.#enclosure.before.length) this.#query.handleCommandComplete(message, connection)
    else this.tag = message.text
  }

  handleRowDescription(message: unknown): void {
    this.#query.handleRowDescription(message)
  }

  handleDataRow(message: unknown): void {
    this.#query.handleDataRow(message)
  }

  handleEmptyQuery(connection: Wire): void {
    this.#answered++
    this.#query.handleEmptyQuery(connection)
  }

  handlePortalSuspended(connection: Wire): void {
    this.#query.handlePortalSuspended(connection)
  }

  handleCopyInResponse(connection: Wire): void {
    this.#query.handleCopyInResponse(connection)
  }

  handleCopyData(message: unknown, connection: Wire): void {
    this.#query.handleCopyData(message, connection)
  }

  handleError(error: Error, connection: Wire): void {
    this.#query.handleError(error, connection)
  }

  handleReadyForQuery(connection: Wire): void {
    this.#query.handleReadyForQuery(connection)
  }
}

function send(connection: Wire, text: string): void {
  connection.parse({ text })
  connection.bind({})
  connection.execute({})
}
