/** Process that starts a transfer of every kind. Argument: JSON. Pauses at the given moment of the second phase, and says so. */
import { pgClient } from 'concordat/core/pg'
import pg from 'pg'
import { attachMaria } from './maria.ts'
import { type Moment, twoPhases } from './two-phases.ts'

const { a, b, maria, id, refuse, at } = JSON.parse(process.argv[2] ?? '{}') as Record<
  'a' | 'b' | 'maria' | 'id',
  string
> & {
  readonly refuse: boolean
  readonly at: Moment
}
const open = (url: string) => pgClient(new pg.Pool({ connectionString: url, max: 8 }))
const databases = { a: open(a), b: open(b), maria: attachMaria(maria).resource }
const { saga, service } = twoPhases(databases, async (moment) => {
  if (moment !== at) return
  process.stdout.write(`${moment}\n`)
  await new Promise<void>(() => {})
})
await service.start()
await service.run(saga, { id, input: { refuse } })
