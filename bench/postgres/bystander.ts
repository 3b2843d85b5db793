import { Worker } from '../processes.ts'
import type { BystanderReport } from './bystander-worker.ts'

/** A small transaction of an application in the same database. */
export interface Bystander extends AsyncDisposable {
  /** Repeats the transaction beside `work`. @returns also how long each took */
  beside<T>(work: () => Promise<T>): Promise<{ readonly result: T; readonly samplesMs: readonly number[] }>
}

/** Starts the bystander in a separate process, so that a busy event loop of the measured side adds nothing to its latency. */
export async function openBystander(connectionString: string): Promise<Bystander> {
  const worker = new Worker<BystanderReport>(new URL('./bystander-worker.ts', import.meta.url), [connectionString])
  await worker.report('ready')
  return {
    beside: async (work) => {
      worker.tell({ do: 'begin' })
      const result = await work()
      worker.tell({ do: 'end' })
      return { result, samplesMs: (await worker.report('transactions')).samplesMs ?? [] }
    },
    [Symbol.asyncDispose]: () => worker[Symbol.asyncDispose](),
  }
}
