/** The same orders by a saga of local steps in one process, without services and messages. */
import type { SuiteOptions } from '../main.ts'
import type { PostgresBed } from '../postgres-bed.ts'
import { runOrders } from './place-orders.ts'
import type { ExampleRun } from './run.ts'

export const STEPS = 'postgres, a saga of local steps, one process'

export function runSteps(bed: PostgresBed, database: string, options: SuiteOptions): Promise<ExampleRun> {
  return runOrders(bed, database, options, {
    worker: new URL('./steps-worker.ts', import.meta.url),
    notReady: (cause) => new Error('the coordinator did not get ready; its own words are above', { cause }),
  })
}
