import { SECOND } from '../../../core/clock.ts'
import { toError } from '../../../core/errors.ts'
import { replyCodeOf } from '../transport-errors.ts'
import type { Ask } from './declare.ts'
import { type Declaration, type ExchangeDeclaration, look, nameOf, settledMark } from './declare.ts'
import { declareAll } from './provision.ts'
import { writtenOf } from './topology-names.ts'

/**
 * How long a new quorum queue must exist before it is relied on. RabbitMQ (3.10, measured) registers it on disk half a second
 * after its declaration; if it is killed before that, it has lost the queue's log with everything that was confirmed.
 */
export const SETTLE_MS: number = 2.5 * SECOND

/**
 * Lets new queues settle.
 *
 * A declaration that RabbitMQ has confirmed (3.10, metadata in Mnesia) is on disk as an attempt, and a moment later as done.
 * Occasionally the second record stays in a buffer for up to two seconds: a server killed in between has lost the queue or its
 * binding, with the messages that it has confirmed. The next declaration flushes the buffer, so a mark is created and deleted
 * after all others.
 *
 * New quorum queues need more time. AMQP does not reveal a queue's age, and another process may have declared it a moment ago: an
 * exchange that never receives messages marks it as old enough, and a process that does not find the mark waits.
 */
export class NewQueueSettling {
  readonly #ask: Ask
  readonly #young: ExchangeDeclaration[] = []
  /** The destination of a new queue that only needs to be flushed to disk. */
  #unwritten: string | undefined

  constructor(ask: Ask) {
    this.#ask = ask
  }

  /**
   * Called before the queue is declared.
   * @param settled the exchange that will mark the queue as old enough; a mark of a deleted queue is removed first
   */
  async begin(queue: string, settled: ExchangeDeclaration): Promise<void> {
    const isThere = await this.#exists({ kind: 'queue', name: queue })
    if (isThere && (await this.#exists(settled))) return
    if (!isThere) await this.#ask(`forget ${nameOf(settled)}`, (channel) => channel.deleteExchange(settled.name))
    this.#young.push(settled)
  }

  /** Called before a classic queue is declared. */
  async beginClassic(queue: string, destination: string): Promise<void> {
    if (!(await this.#exists({ kind: 'queue', name: queue }))) this.#unwritten = destination
  }

  /** Called after all were declared: waits once, if one is new. */
  async end(sleep: (durationMs: number) => Promise<void>): Promise<void> {
    if (this.#young.length > 0) {
      await sleep(SETTLE_MS)
      await this.#ask('say that the queues have settled', (channel) => declareAll(channel, this.#young))
    } else if (this.#unwritten !== undefined && !(await this.#writeOut(this.#unwritten))) await sleep(SETTLE_MS)
  }

  /** @returns false if the user may not create the mark */
  async #writeOut(destination: string): Promise<boolean> {
    const mark = settledMark(writtenOf(destination))
    try {
      await this.#ask(`have what is new written out, by ${nameOf(mark)}`, async (channel) => {
        await declareAll(channel, [mark])
        await channel.deleteExchange(mark.name)
      })
      return true
    } catch (error) {
      if (replyCodeOf(toError(error).cause) === REFUSED) return false
      throw error
    }
  }

  async #exists(declaration: Pick<Declaration, 'kind' | 'name'>): Promise<boolean> {
    try {
      await this.#ask(`look for ${nameOf(declaration)}`, (channel) => look(channel, declaration))
      return true
    } catch (error) {
      if (replyCodeOf(toError(error).cause) === NOT_FOUND) return false
      throw error
    }
  }
}

const NOT_FOUND = 404
const REFUSED = 403
