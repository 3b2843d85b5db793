/**
 * Transactions shared by commands that are ready together: one statement each reads the barrier, writes it, and sends the
 * replies, and the commit is sent with the last one. In between, each command only makes the queries of its handler.
 *
 *   find all -> call the handlers, one after the other -> record the replies -> send all replies, commit
 *
 * If another process records one of the commands in between (it was delivered twice), the whole transaction fails, and each
 * command is decided again in its own transaction.
 */
import type { Channel } from '../../binder/channel/channel.ts'
import type { EncodedMessage } from '../../binder/channel/message.ts'
import type { Clock } from '../../core/clock.ts'
import { andCommit } from '../../core/commit-with-last-statement.ts'
import type { Timed } from '../../core/sharing/open-transaction.ts'
import { SharedTransactions } from '../../core/sharing/shared-transactions.ts'
import type { SqlClient, SqlTransaction } from '../../core/sql.ts'
import type { Operation } from '../machine/operation.ts'
import type { SagaReply } from '../wire/reply.ts'
import type { CommandHeaders } from '../wire/wire.ts'
import type { Barrier } from './barrier.ts'
import type { BarrierAnswer, BarrierEntry } from './barrier-entry.ts'
import type { DecidedTogether, Duty } from './operation-handlers.ts'
import type { ReplyOutbox } from './reply-outbox-interface.ts'

/** A command that is decided in a transaction which it may share. */
export interface SharedCommand {
  readonly command: CommandHeaders
  readonly outbox: ReplyOutbox
  /** Operation that is looked up in the barrier for all commands at once. Absent: the command uses the barrier itself. */
  readonly operation: Operation | undefined
  /** Its record in the shared transaction; `'another'`: the command uses the barrier itself. */
  found?: BarrierEntry | undefined
  /** Decision of its last call; written with those of the others. */
  decided?: DecidedTogether | undefined
  answer?: { readonly channel: Channel<SagaReply>; readonly message: EncodedMessage } | undefined
}

/** A command whose possible execution is recorded before it starts. */
interface BeginningCommand {
  readonly command: CommandHeaders
  isFirst: boolean
}

type Begin = Pick<Duty<never, never>, 'begin' | 'beginFirst'>
type Run = SharedTransactions<SharedCommand>['run']

/** Transactions that the commands of a participant share. */
export class SharedCommandTransactions {
  readonly #sql: SqlClient
  readonly #barrier: Barrier
  readonly #beginning: SharedTransactions<BeginningCommand>
  readonly #deciding: SharedTransactions<SharedCommand>

  constructor(sql: SqlClient, clock: Clock, barrier: Barrier) {
    this.#sql = sql
    this.#barrier = barrier
    this.#beginning = new SharedTransactions<BeginningCommand>(sql, clock, {
      nameOf,
      isOurs: true,
      open: (tx, items) => this.#beginAll(tx, items),
    })
    this.#deciding = new SharedTransactions<SharedCommand>(sql, clock, {
      nameOf,
      open: (tx, items) => this.#findAll(tx, items),
      close: (tx, done) => this.#writeAll(tx, done),
    })
  }

  /** @returns false when it was begun before, same as `Duty.begin` */
  async begin(command: CommandHeaders, duty: Begin): Promise<boolean> {
    const item: BeginningCommand = { command, isFirst: true }
    const begin = async (tx: SqlTransaction): Promise<void> => {
      item.isFirst = (await duty.begin?.(tx, command)) === true
    }
    const alone = async (timed: Timed): Promise<void> => {
      item.isFirst = true
      if ((await timed(async () => duty.beginFirst?.(this.#sql, command))) !== true) await this.#sql.transaction(begin)
    }
    await this.#beginning.run(item, alone, begin)
    return item.isFirst
  }

  /** @see SharedTransactions.run */
  decide(item: SharedCommand, alone: Parameters<Run>[1], work: Parameters<Run>[2]): Promise<void> {
    return this.#deciding.run(item, alone, work)
  }

  /** @returns for each command, whether it needs separate handling because a record exists */
  async #beginAll(tx: SqlTransaction, items: readonly BeginningCommand[]): Promise<readonly boolean[]> {
    const found = await this.#barrier.findAll(tx, commandsOf(items), 'invoke')
    const fresh = items.filter((_, i) => found[i] === undefined)
    for (const item of fresh) item.isFirst = true
    await this.#barrier.enterAll(
      tx,
      fresh.map(({ command }) => ({ operation: 'invoke', status: 'begun', command, reply: null })),
    )
    return found.map((entry) => entry !== undefined)
  }

  async #findAll(tx: SqlTransaction, items: readonly SharedCommand[]): Promise<readonly boolean[]> {
    for (const [operation, its] of Map.groupBy(items, (item) => item.operation)) {
      if (operation === undefined) continue
      const found = await this.#barrier.findAll(tx, commandsOf(its), operation)
      for (const [i, item] of its.entries()) item.found = found[i]
    }
    return items.map(() => true)
  }

  async #writeAll(tx: SqlTransaction, done: readonly SharedCommand[]): Promise<void> {
    const answers = done.flatMap(answerOf)
    await this.#barrier.enterAll(
      tx,
      answers.filter(({ isNew }) => isNew),
    )
    await this.#barrier.keepAll(
      tx,
      answers.filter(({ isNew }) => !isNew),
    )
    await sendAll(tx, done)
  }
}

function nameOf({ command }: Pick<SharedCommand, 'command'>): string {
  return command.key
}

function commandsOf(items: readonly Pick<SharedCommand, 'command'>[]): readonly CommandHeaders[] {
  return items.map(({ command }) => command)
}

/** Returns the replies that the barrier does not have yet. */
function answerOf({ command, operation, found, decided }: SharedCommand): (BarrierAnswer & { isNew: boolean })[] {
  if (operation === undefined || decided?.status === undefined) return []
  const { status, reply } = decided
  return [{ isNew: found === undefined, operation, status, command, reply }]
}

/** Sends the replies, with one statement for each coordinator. */
async function sendAll(tx: SqlTransaction, items: readonly SharedCommand[]): Promise<void> {
  const answers = items.flatMap(({ outbox, answer }) => (answer === undefined ? [] : [{ outbox, ...answer }]))
  const places = [...Map.groupBy(answers, ({ outbox }) => outbox).values()].flatMap((its) => [
    ...Map.groupBy(its, ({ channel }) => channel.name).values(),
  ])
  for (const its of places) {
    const [first] = its
    const messages = its.map(({ message }) => message)
    await first?.outbox.addEncoded?.(its === places.at(-1) ? andCommit(tx) : tx, messages, first.channel)
  }
}
