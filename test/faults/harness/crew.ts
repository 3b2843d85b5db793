import { Actor } from './actor.ts'
import type { Reaper } from './reaper.ts'

/** The worker processes of one lane: as many alive as are needed, the dead replaced, all ended in the end. */
export class Crew<Order extends object> {
  readonly #module: URL
  readonly #reaper: Reaper
  readonly #all = new Set<Actor<Order>>()
  #idle: Actor<Order>[] = []
  #started = 0

  constructor(module: URL, reaper: Reaper) {
    this.#module = module
    this.#reaper = reaper
  }

  /** Starts processes ahead of time: a start takes a good part of a second. */
  prepare(count: number): void {
    this.#idle = this.#idle.filter(({ isAlive }) => isAlive)
    while (this.#idle.length < count) this.#idle.push(this.#start())
  }

  take(count: number): Actor<Order>[] {
    this.prepare(count)
    return this.#idle.splice(0, count)
  }

  /** Returns an actor from an episode; dead and stopped ones are not used again. */
  giveBack(actor: Actor<Order>): void {
    if (actor.isAlive && !actor.isStopped) {
      actor.events.length = 0
      this.#idle.push(actor)
    } else this.#end(actor)
  }

  async close(): Promise<void> {
    await Promise.all([...this.#all].map((actor) => actor.kill()))
  }

  #start(): Actor<Order> {
    const actor = new Actor<Order>(`w${++this.#started}`, this.#module)
    this.#all.add(actor)
    const { pid } = actor
    this.#reaper.add(pid)
    actor.onExit(() => {
      this.#reaper.gone(pid)
      this.#all.delete(actor)
    })
    return actor
  }

  #end(actor: Actor<Order>): void {
    void actor.kill()
  }
}
