/** The coordinator of a saga of three commands, each of which has a compensation. */
import { defineSaga } from 'concordat/saga'
import { createService } from 'concordat/service'
import { serve } from '../serve.ts'
import { atOnce, commands, Numbered, surroundings } from './asked.ts'

const ask = (n: number) => ({ n })
const asked = { to: commands, reply: Numbered, compensate: true } as const
const three = defineSaga('three', { version: 1, input: Numbered })
  .command('first', { ...asked, request: ({ input }) => ask(input.n) })
  .command('second', { ...asked, request: ({ results }) => ask(results.first.n) })
  .command('third', { ...asked, request: ({ results }) => ask(results.second.n) })
const service = createService({
  name: 'shop',
  ...surroundings(),
  sagas: [three],
  parts: { coordinator: { concurrency: atOnce } },
})
await service.start()
await service.ready()

serve(async (id) => {
  const run = await service.run(three, { id, input: { n: 1 } })
  const outcome = await run.outcome()
  if (outcome.status !== 'completed' || outcome.results.third.n !== 4) throw new Error(`saga ${id}: ${outcome.status}`)
})
