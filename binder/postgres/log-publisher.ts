import { queryLast, withoutCommit } from '../../core/commit-with-last-statement.ts'
import { fromOwnStatement } from '../../core/own-statements.ts'
import type { SqlTransaction } from '../../core/sql.ts'
import { SqlError } from '../../core/sql-error.ts'
import type { EncodedMessage } from '../channel/message.ts'
import { partitionOf } from '../channel/partition.ts'
import { TransportError } from '../errors.ts'
import { CLOSED_TRANSPORT } from '../transport/kit/transport-error-factory.ts'
import type { DestinationSpec, PublishOutcome, PublishUntil } from '../transport/transport.ts'
import { appendStatement, delayedStatement, lanesOf, type Placed, soonestOf } from './appending.ts'
import type { LogContext } from './context.ts'
import { DestinationLookup, type FoundDestination } from './destination-lookup.ts'
import { failure, isOfData, isOutdated, toTransportError } from './transport-errors.ts'
import type { Wakes } from './wakes.ts'

/** Appends lists of messages: one statement, whose own commit is the confirm. One outcome per message, never rejects. */
export class LogPublisher {
  readonly #context: LogContext
  readonly #wakes: Wakes
  readonly #destinations: DestinationLookup
  #turn = 0
  #closed = false

  constructor(context: LogContext, wakes: Wakes) {
    this.#context = context
    this.#wakes = wakes
    this.#destinations = new DestinationLookup(context)
  }

  close(): void {
    this.#closed = true
  }

  /** The statement would wait for the end of the transaction, and the transaction for the statement. */
  refuses(message: EncodedMessage): TransportError | undefined {
    if (this.#context.options.sql.isInTransaction?.() !== true) return undefined
    return insideTransaction(message)
  }

  async publish(messages: readonly EncodedMessage[], until: PublishUntil = {}): Promise<readonly PublishOutcome[]> {
    const deadline = until.deadline ?? Number.POSITIVE_INFINITY
    const outcomes: PublishOutcome[] = messages.map(() => undefined)
    const now: Placed[] = []
    const later: Placed[] = []
    const found = new Map<string, FoundDestination>()
    for (const [index, message] of messages.entries()) {
      const { destination } = message
      const refused = this.#refusal(message, false)
      // The batch looks up each destination once, so no message is written after an earlier one whose destination was missing.
      if (refused === undefined && !found.has(destination))
        found.set(destination, await this.#destinations.findBefore(deadline, destination))
      const placed = refused ?? this.#placed(message, index, found.get(destination))
      if (placed instanceof Error) outcomes[index] = placed
      else if (message.notBefore !== undefined && message.notBefore > this.#context.host.clock.now()) later.push(placed)
      else now.push(placed)
    }
    if (later.length > 0) await this.#write(later, deadline, outcomes, (list, ms) => this.#insertDelayed(list, ms))
    const written = lanesOf(now, this.#context.options.sql).map((lane) =>
      this.#write(lane, deadline, outcomes, (list, ms) => this.#insert(list, ms)),
    )
    await Promise.all(written)
    const parts = new Set<number>()
    for (const { index, part } of now) if (outcomes[index] === undefined) parts.add(part)
    if (parts.size > 0) this.#wakes.wrote(parts)
    return outcomes
  }

  /**
   * Appends in the transaction of the caller: sent if and only if it commits, in the given order.
   * @throws TransportError; nothing was written, and the transaction is still usable unless the server refused a statement
   */
  async publishIn(
    tx: SqlTransaction,
    messages: readonly EncodedMessage[],
    specOf?: (destination: string) => DestinationSpec,
  ): Promise<void> {
    const now: Placed[] = []
    const later: Placed[] = []
    for (const [index, message] of messages.entries()) {
      const placed = await this.#place(message, index, tx, specOf)
      if (placed instanceof Error) throw placed
      if (message.notBefore !== undefined && message.notBefore > this.#context.host.clock.now()) later.push(placed)
      else now.push(placed)
    }
    await this.#writeIn(tx, now, later)
    const { clock } = this.#context.host
    const parts = new Set(now.map(({ part }) => part))
    const wake = (): void => {
      if (parts.size > 0) this.#wakes.wrote(parts)
      if (later.length > 0) this.#wakes.delayed(soonestOf(later, clock.now()))
    }
    // Without it the end of the transaction is not visible here, so readers poll soon.
    if (tx.afterCommit === undefined) this.#wakes.wroteSoon(parts)
    else tx.afterCommit(wake)
  }

  async #writeIn(tx: SqlTransaction, now: readonly Placed[], later: readonly Placed[]): Promise<void> {
    const { tables, host, options, directory } = this.#context
    try {
      if (later.length > 0) {
        const before = now.length > 0 ? withoutCommit(tx) : tx
        await queryLast(before, ...delayedStatement(tables, later, host.clock.now()))
      }
      if (now.length > 0) await queryLast(tx, ...appendStatement(tables, now))
    } catch (error) {
      if (!isOutdated(error)) throw fromOwnStatement(error)
      directory.forget()
      throw toTransportError('publish', error, options.schema)
    }
  }

  async #place(
    message: EncodedMessage,
    index: number,
    tx: SqlTransaction,
    specOf?: (destination: string) => DestinationSpec,
  ): Promise<Placed | TransportError> {
    const refused = this.#refusal(message, true)
    return refused ?? this.#placed(message, index, await this.#destinations.find(message.destination, tx, specOf))
  }

  #placed(message: EncodedMessage, index: number, known: FoundDestination): Placed | TransportError {
    const { destination, key } = message
    if (known instanceof TransportError) return known
    if (known === undefined)
      return failure(
        'unroutable',
        `"${destination}" was not provisioned: provision it before publishing to it`,
        message,
      )
    const { maxMessageBytes } = this.#context.options
    const bytes = (message.body?.byteLength ?? 0) + (key?.length ?? 0)
    if (bytes > maxMessageBytes && !known.takesAnySize) return tooLarge(message, bytes, maxMessageBytes)
    const count = known.parts.length
    const keyBytes = key === null ? null : Buffer.from(key)
    const part = known.parts[keyBytes === null ? this.#turn++ % count : partitionOf(keyBytes, count)] as number
    return { index, message, key: keyBytes, part, log: known.log }
  }

  #refusal(message: EncodedMessage, isInside: boolean): TransportError | undefined {
    if (this.#closed) return failure('closed', CLOSED_TRANSPORT, message)
    if (!Number.isFinite(message.time))
      return failure('mismatch', `message ${message.id}: time ${message.time} is not an instant in epoch ms`, message)
    return isInside ? undefined : this.refuses(message)
  }

  /** Writes all messages with one statement; if one of them is refused, halves until it is alone. */
  async #write(
    list: readonly Placed[],
    deadline: number,
    outcomes: PublishOutcome[],
    insert: (list: readonly Placed[], timeoutMs: number) => Promise<unknown>,
  ): Promise<void> {
    try {
      await insert(list, deadline - this.#context.host.clock.monotonic())
    } catch (error) {
      const cause = toTransportError('publish', error, this.#context.options.schema)
      if (isOutdated(cause.cause)) this.#context.directory.forget()
      if (!isOfData(cause.cause)) {
        for (const { index } of list) outcomes[index] = cause
      } else if (list.length === 1) {
        const [{ index, message }] = list as readonly [Placed]
        outcomes[index] = failure('mismatch', `PostgreSQL refuses message ${message.id}: ${cause.message}`, {
          destination: message.destination,
          cause: cause.cause,
        })
      } else {
        const half = list.length >> 1
        await this.#write(list.slice(0, half), deadline, outcomes, insert)
        const last = outcomes[list[half - 1]?.index ?? 0]
        // The server was unavailable in between: later messages must not overtake this one.
        if (last?.retryable === true) for (const { index } of list.slice(half)) outcomes[index] = last
        else await this.#write(list.slice(half), deadline, outcomes, insert)
      }
    }
  }

  #insert(list: readonly Placed[], timeoutMs: number): Promise<unknown> {
    const { database, tables } = this.#context
    return database.query(`publish to "${list[0]?.message.destination}"`, ...appendStatement(tables, list), {
      timeoutMs,
    })
  }

  async #insertDelayed(list: readonly Placed[], timeoutMs: number): Promise<void> {
    const { database, tables, host } = this.#context
    const now = host.clock.now()
    await database.query('publish delayed messages', ...delayedStatement(tables, list, now), { timeoutMs })
    this.#wakes.delayed(soonestOf(list, now))
  }
}

function insideTransaction(message: EncodedMessage): TransportError {
  return failure(
    'mismatch',
    `message ${message.id} to "${message.destination}" was sent inside an open transaction of a database with one ` +
      'connection, which would wait for itself: write it with outbox.add(tx, ...), or send it after the commit',
    { destination: message.destination, cause: new SqlError('core.sql_own_transaction') },
  )
}

function tooLarge(message: EncodedMessage, bytes: number, maxMessageBytes: number): TransportError {
  const size = `message ${message.id} to "${message.destination}" has ${bytes} bytes, ${maxMessageBytes} are allowed`
  return failure('too_large', `${size}: raise postgresTransport.maxMessageBytes, or send a reference to it`, message)
}
