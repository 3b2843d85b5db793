import { Worker } from '../processes.ts'
import type { Burst, Ran, SideReport } from '../serve.ts'

/** Several processes that do the same at the same time. */
export class Team implements AsyncDisposable {
  readonly #workers: readonly Worker<SideReport>[]

  private constructor(workers: readonly Worker<SideReport>[]) {
    this.#workers = workers
  }

  /** Opens the workers one after the other, so that the first one creates the tables. */
  static async open(file: URL, args: readonly string[], size: number): Promise<Team> {
    const workers: Worker<SideReport>[] = []
    try {
      for (let n = 0; n < size; n++) {
        const worker = new Worker<SideReport>(file, args)
        workers.push(worker)
        await worker.report('ready')
      }
    } catch (error) {
      await new Team(workers)[Symbol.asyncDispose]()
      throw error
    }
    return new Team(workers)
  }

  /** @param burst `atOnce` of all together @returns what each did */
  async run(burst: Burst): Promise<readonly Ran[]> {
    const each = Math.ceil(burst.atOnce / this.#workers.length)
    for (const worker of this.#workers) worker.tell({ ...burst, atOnce: each })
    return Promise.all(
      this.#workers.map(async (worker) => {
        const { ran } = await worker.report('ran')
        if (ran === undefined) throw new Error('a worker reported that it ran, and not what')
        return ran
      }),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker[Symbol.asyncDispose]()))
  }
}
