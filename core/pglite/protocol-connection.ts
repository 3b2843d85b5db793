/**
 * The connection of a PGlite, in PostgreSQL's protocol. PGlite's own `query` parses and plans each statement anew and crosses
 * into WebAssembly seven times; here, a repeated statement is prepared and crosses once, which takes a third of the time. It uses
 * PGlite's own locks, so that other users of the same PGlite take turns with it.
 */
import { hasMethods } from '../option-checks.ts'
import { SqlCommitError } from '../sql.ts'
import { fieldOf } from '../thrown-values.ts'
import { type Message, type Parsers, type PgliteResult, type Protocol, protocolOfPglite } from './load-protocol.ts'
import { type Prepared, PreparedStatements } from './prepared-statements.ts'

export interface PgliteExecutor {
  query(text: string, parameters?: unknown[]): Promise<PgliteResult>
  /** Runs the last statement of a transaction together with its commit. The transaction is over, whatever the outcome. */
  last?(text: string, parameters?: unknown[]): Promise<PgliteResult>
  exec?(text: string): Promise<unknown>
}

type Values = readonly unknown[]
interface Printable {
  toString(): string
}

/** The members of `PGlite` that are used here. */
interface PgliteDatabase {
  execProtocolStream(message: Uint8Array, options: { readonly syncToFs: boolean }): Promise<Message[]>
  syncToFs(): Promise<void>
  _checkReady(): Promise<void>
  _runExclusiveQuery<T>(work: () => Promise<T>): Promise<T>
  _runExclusiveTransaction<T>(work: () => Promise<T>): Promise<T>
  readonly serializers: Readonly<Record<number, (value: unknown) => string>>
  readonly parsers: Parsers
}

const METHODS = ['execProtocolStream', 'syncToFs', '_checkReady', '_runExclusiveQuery', '_runExclusiveTransaction']
/**
 * Codes for a prepared statement that no longer exists, or whose types no longer match its tables or values. It had no effect.
 */
const OUTDATED = /^(?:26000|0A000|22...|42...)$/

const BYTEA = 17

/** A transaction on the connection. `new`: its `BEGIN` crosses with the first statement. */
interface Open {
  stage: 'new' | 'open' | 'committed' | 'rolled back'
}

const connections = new WeakMap<object, PgliteConnection>()

/** The connection of this database, shared by all clients. Undefined: it is not a `PGlite` itself, so its `query` is used. */
export async function connectionOf(database: object): Promise<PgliteConnection | undefined> {
  if (!hasMethods(database, METHODS) || !('serializers' in database) || !('parsers' in database)) return undefined
  const protocol = await protocolOfPglite()
  if (protocol === undefined) return undefined
  const known = connections.get(database) ?? new PgliteConnection(database as unknown as PgliteDatabase, protocol)
  connections.set(database, known)
  return known
}

export class PgliteConnection {
  readonly #database: PgliteDatabase
  readonly #protocol: Protocol
  readonly #parsers: Parsers
  readonly #statements = new PreparedStatements<Message>()

  constructor(database: PgliteDatabase, protocol: Protocol) {
    this.#database = database
    this.#protocol = protocol
    const { parsers } = database
    const isTheirs = parsers[BYTEA] === protocol.parsers[BYTEA]
    // PGlite adds parsers to its own object when types are created.
    this.#parsers = isTheirs ? Object.assign(Object.create(parsers) as Parsers, { [BYTEA]: bytesOf }) : parsers
  }

  /** A single statement. @throws PostgreSQL's error */
  async query(text: string, values: Values = []): Promise<PgliteResult> {
    await this.#database._checkReady()
    return this.#database._runExclusiveTransaction(async () => {
      const wasPrepared = this.#statements.has(text)
      try {
        return await this.#run(text, values)
      } catch (error) {
        if (!wasPrepared || !isOutdated(error)) throw error
        return await this.#run(text, values)
      } finally {
        await this.#database.syncToFs()
      }
    })
  }

  /**
   * Commits when `work` resolves, rolls back when it rejects. Nothing is begun before its first statement.
   * @throws SqlCommitError if a statement failed and `work` continued
   */
  async transaction<T>(work: (tx: PgliteExecutor) => Promise<T>): Promise<T> {
    await this.#database._checkReady()
    return this.#database._runExclusiveTransaction(async () => {
      const open: Open = { stage: 'new' }
      try {
        const result = await work({
          query: (text, values) => this.#run(text, values ?? [], open),
          last: (text, values) => this.#runLast(text, values ?? [], open),
          exec: (text) => this.#script(text, open),
        })
        if (open.stage === 'open') await this.#commit(open)
        if (open.stage === 'rolled back') throw new SqlCommitError()
        return result
      } finally {
        if (open.stage === 'open') await this.#send([this.#protocol.serialize.query('ROLLBACK')])
        await this.#database.syncToFs()
      }
    })
  }

  async #commit(open: Open): Promise<void> {
    open.stage = 'rolled back'
    ended(open, await this.#send([this.#protocol.serialize.query('COMMIT')]))
  }

  async #script(text: string, open: Open): Promise<void> {
    try {
      await this.#send([...this.#beginning(open), this.#protocol.serialize.query(text)])
    } finally {
      this.#statements.ran(text)
    }
  }

  /** Message that begins the transaction, to be sent before its first statement. */
  #beginning(open: Open | undefined): readonly Uint8Array[] {
    if (open?.stage !== 'new') return NOTHING
    open.stage = 'open'
    return [this.#protocol.serialize.query('BEGIN')]
  }

  async #runLast(text: string, values: Values, open: Open): Promise<PgliteResult> {
    const result = await this.#run(text, values, open, [this.#protocol.serialize.query('COMMIT')])
    if (open.stage === 'rolled back') throw new SqlCommitError()
    return result
  }

  /**
   * Keeps two consecutive crossings together, so that no other statement comes between them.
   * @param end ends the transaction, whatever the outcome of the statement: after a failed one, the server rolls back
   */
  #run(text: string, values: Values, open?: Open, end: readonly Uint8Array[] = NOTHING): Promise<PgliteResult> {
    return this.#database._runExclusiveQuery(async () => {
      try {
        const use = this.#statements.use(text)
        const { name, types, columns } = typeof use === 'object' ? use : await this.#parse(text, use, open)
        const { serialize } = this.#protocol
        const bound = serialize.bind({ statement: name, values: this.#texts(types, values) })
        const asked = [...this.#beginning(open), bound, serialize.execute({}), serialize.sync(), ...end]
        if (open !== undefined && end.length > 0) open.stage = 'rolled back'
        const answer = await this.#exchange(asked)
        if (open !== undefined && end.length > 0) ended(open, answer)
        const own = answer.slice(answer.findIndex((message) => message.name === 'bindComplete'))
        const [result] = this.#protocol.parseResults([...columns, ...own], this.#parsers)
        return result ?? { rows: [] }
      } catch (error) {
        this.#statements.forget(text)
        throw error
      } finally {
        this.#statements.ran(text)
      }
    })
  }

  async #parse(text: string, use: 'prepare' | 'once', open: Open | undefined): Promise<Prepared<Message>> {
    const name = use === 'prepare' ? this.#statements.newName() : ''
    const asked = [
      ...this.#beginning(open),
      this.#protocol.serialize.parse({ name, text }),
      this.#protocol.serialize.describe({ type: 'S', name }),
      this.#protocol.serialize.sync(),
    ]
    const answer = await this.#exchange(asked)
    const types = this.#protocol.parseDescribeStatementResults(answer)
    const columns = answer.filter((message) => message.name === 'rowDescription')
    const prepared = { name, types, columns }
    if (use === 'prepare') this.#statements.keep(text, prepared)
    return prepared
  }

  /** Same texts as PGlite's own `query`, except for bytes, which it writes as hexadecimal digits one at a time. */
  #texts(types: readonly number[], values: Values): Array<string | Uint8Array | null> {
    return values.map((value, i) => {
      if (value === null || value === undefined) return null
      if (types[i] === BYTEA && value instanceof Uint8Array) return value
      const serializer = this.#database.serializers[types[i] ?? 0]
      return serializer === undefined ? (value as Printable).toString() : serializer(value)
    })
  }

  #send(asked: readonly Uint8Array[]): Promise<Message[]> {
    return this.#database._runExclusiveQuery(() => this.#exchange(asked))
  }

  #exchange(asked: readonly Uint8Array[]): Promise<Message[]> {
    const closing = this.#statements.takeLeftover().map((name) => this.#protocol.serialize.close({ type: 'S', name }))
    return this.#database.execProtocolStream(Buffer.concat([...closing, ...asked]), { syncToFs: false })
  }
}

const NOTHING: readonly Uint8Array[] = []

/** Reads `\x` and hexadecimal digits. PGlite's own parser, which reads them two at a time, takes 50 times as long. */
function bytesOf(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text.slice(2), 'hex'))
}

/** Reads from the response to `COMMIT` how a transaction ended. */
function ended(open: Open, answer: readonly Message[]): void {
  const isCommitted = answer.some(({ name, text }) => name === 'commandComplete' && text === 'COMMIT')
  open.stage = isCommitted ? 'committed' : 'rolled back'
}

/** An error without a SQLSTATE was thrown on the way: the previous type cannot represent the value. */
function isOutdated(error: unknown): boolean {
  const code = fieldOf(error, 'code')
  return typeof code !== 'string' || OUTDATED.test(code)
}
