import { toError } from '../../core/errors.ts'
import type { Ask } from './check.ts'
import { type Declaration, type ExchangeDeclaration, look, nameOf } from './declaration.ts'
import { dueDeclaration, dueSettled, LADDER_SETTLED, ladderDeclarations, queueOfDue, TOP_LEVEL } from './delay.ts'
import { replyCodeOf } from './failure.ts'
import { declareAll } from './provision.ts'

/**
 * Makes the queues that delay messages exist, old enough to be relied on: whoever finds them without the exchange that says
 * so waits, also beside the process that has just declared them.
 */
export class DelayQueues {
  readonly #ask: Ask
  readonly #settle: () => Promise<void>
  #hasLadder = false

  /** @param settle waits for as long as a new queue is left alone */
  constructor(ask: Ask, settle: () => Promise<void>) {
    this.#ask = ask
    this.#settle = settle
  }

  /** Somebody deleted something: the next `provision` looks again. */
  forget(): void {
    this.#hasLadder = false
  }

  /** @throws TransportError */
  async provision(destinations: readonly string[]): Promise<void> {
    const young: ExchangeDeclaration[] = []
    if (!this.#hasLadder && !(await this.#declare(ladderDeclarations(), TOP_LEVEL, LADDER_SETTLED)))
      young.push(LADDER_SETTLED)
    for (const name of destinations) {
      const settled = dueSettled(name)
      if (!(await this.#declare([dueDeclaration(name)], queueOfDue(name), settled))) young.push(settled)
    }
    if (young.length > 0) {
      await this.#settle()
      await this.#ask('say that the delay queues have settled', (channel) => declareAll(channel, young))
    }
    this.#hasLadder = true
  }

  /** @returns whether it had settled before. What says so of a queue that is gone goes before there is another. */
  async #declare(declarations: readonly Declaration[], queue: string, settled: ExchangeDeclaration): Promise<boolean> {
    const isThere = await this.#exists({ kind: 'queue', name: queue })
    const hasSettled = isThere && (await this.#exists(settled))
    await this.#ask(`provision what delays messages, up to queue "${queue}"`, async (channel) => {
      if (!isThere) await channel.deleteExchange(settled.name)
      await declareAll(channel, declarations)
    })
    return hasSettled
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
