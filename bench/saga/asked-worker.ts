/** The participant: it does next to nothing, in a transaction of its database. */
import { participant } from 'concordat/saga'
import { createService } from 'concordat/service'
import { serve } from '../serve.ts'
import { atOnce, commands, surroundings } from './asked.ts'

const work = participant(
  commands,
  { group: 'work', concurrency: atOnce, prefetch: 2 * atOnce, effects: 'tx', sharesTransactions: true },
  { invoke: ({ n }) => ({ n: n + 1 }), compensate: () => {} },
)
const service = createService({ name: 'work', ...surroundings(), bindings: [work] })
await service.start()
await service.ready()

serve(() => Promise.reject(new Error('the participant is asked by the other process')))
