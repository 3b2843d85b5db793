/**
 * Service on a folder that sends numbers, counts each once, and reports both to its parent. For tests that kill
 * it.\n`counter.ts DIR LIFE`; with `counts` for LIFE it sends nothing.
 */
import { defineChannel, sink } from 'concordat/binder'
import { embedded } from 'concordat/embedded'
import { createService } from 'concordat/service'
import { z } from 'zod'

const [dataDir = '', life = '0'] = process.argv.slice(2)
const numbers = defineChannel('numbers', { payload: z.object({ n: z.number() }), key: () => 'k', groups: ['count'] })
const { sql, transport, locks } = embedded({ dataDir })
await sql.query('CREATE TABLE IF NOT EXISTS counted (n int)')
const service = createService({
  name: 'counter',
  sql,
  transport,
  locks,
  bindings: [
    sink(numbers, { group: 'count', once: true }, async ({ n }, { tx }) => {
      await tx.query('INSERT INTO counted VALUES ($1)', [n])
    }),
  ],
  sends: [numbers],
})
await service.start()
process.on('disconnect', () => process.exit(1))
for (let i = 0; ; i++) {
  const n = Number(life) * 1_000_000 + i
  if (life !== 'counts') {
    await service.transaction((tx) => tx.send(numbers, { n }))
    process.send?.({ accepted: n })
  }
  const { rows } = await sql.query<{ n: number }>('SELECT n FROM counted')
  process.send?.({ counted: rows.map((row) => row.n) })
  await new Promise((resolve) => setTimeout(resolve, 10))
}
