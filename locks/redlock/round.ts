import type { Clock } from '../../core/clock.ts'
import { TimeLimit } from './time-limit.ts'

/** One question to all servers under one time limit, which begins with the first, and their answers as they come. */
export class Round<T> {
  /** By the number of the server; `undefined`: not asked, or not answered yet. */
  readonly answers: (T | undefined)[]
  readonly #clock: Clock
  readonly #limitMs: number
  readonly #asked: Promise<T>[] = []
  #limit: TimeLimit | undefined

  constructor(clock: Clock, size: number, limitMs: number) {
    this.answers = Array.from<T | undefined>({ length: size })
    this.#clock = clock
    this.#limitMs = limitMs
  }

  /** `question` applies the limit and never rejects. */
  ask(voter: number, question: (limit: TimeLimit) => Promise<T>): Promise<T> {
    this.#limit ??= new TimeLimit(this.#clock, this.#limitMs)
    const asked = question(this.#limit).then((answer) => {
      this.answers[voter] = answer
      return answer
    })
    this.#asked.push(asked)
    return asked
  }

  /** When all those asked have answered, or had their time. */
  async finished(): Promise<readonly (T | undefined)[]> {
    await Promise.all(this.#asked)
    this.#limit?.end()
    return this.answers
  }
}
