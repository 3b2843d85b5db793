import { PGlite } from '@electric-sql/pglite'
import { pgliteClient } from 'concordat/core/pglite'
import { median, rate } from '../compare.ts'
import type { SuiteOptions } from '../main.ts'
import { number } from '../table.ts'
import { verdict } from '../target.ts'
import { openOn } from './ours.ts'
import { payloads } from './sides.ts'

const COUNT = 20_000
const CALL = 100

/** The same in one process on PGlite, in memory: our work and the database's on one thread. */
export async function measurePglite({ rounds, report, progress }: SuiteOptions): Promise<void> {
  progress(`PGlite, in ${CALL}s`)
  const db = await PGlite.create()
  await using side = await openOn({ sql: pgliteClient(db) }, () => db.close())
  const [published, consumed]: [number[], number[]] = [[], []]
  for (let round = 0; round <= rounds; round++) {
    published.push(rate(await side.publish(payloads(COUNT), CALL)))
    consumed.push(rate(await side.consume(COUNT)))
  }
  // The first round compiles.
  const row = (what: string, rates: readonly number[]): string[] => {
    const value = median(rates.slice(1))
    return [what, number(value), verdict(value, { atLeast: 20_000 })]
  }
  report({
    title: `postgres: on PGlite in the process, ${COUNT} messages, medians of ${rounds} rounds`,
    head: ['what', 'messages/s', 'target'],
    rows: [row(`publish in ${CALL}s`, published), row('consume', consumed)],
  })
}
