/**
 * Process that runs the code of a global transaction. Argument: JSON. It calls branch `a`, reports that, and then obeys
 * its standard input: `call` another branch, or `return`. Reports the outcome of each.
 */
import { once } from 'node:events'
import { pgClient } from 'concordat/core/pg'
import pg from 'pg'
import { type Front, lonelyCoordinator, transferOf } from './global-front.ts'

const { url, id, ...front } = JSON.parse(process.argv[2] ?? '{}') as Front & {
  readonly url: string
  readonly id: string
}
const say = (line: string): void => void process.stdout.write(`${line}\n`)
const codeOf = (error: unknown): string => (error as { readonly code?: string }).code ?? String(error)

const pool = new pg.Pool({ connectionString: url, max: 4 })
const { move, transfer } = transferOf(front.run)
const coordinator = lonelyCoordinator(pgClient(pool), transfer, front)
await coordinator.run()
say('running')
const outcome = await coordinator
  .globalTransaction(transfer, { id, input: {} }, async (global) => {
    say('calls a')
    await global.call(move, { account: 'a' })
    say('called a')
    const [told] = (await once(process.stdin, 'data')) as [Buffer]
    if (told.toString().trim() === 'return') return 'done'
    const called = await global.call(move, { account: 'b' }).then(() => 'done', codeOf)
    say(`called b: ${called}`)
    return called
  })
  .catch(codeOf)
say(`outcome: ${String(outcome)}`)
await coordinator.close()
await pool.end()
process.stdin.destroy()
