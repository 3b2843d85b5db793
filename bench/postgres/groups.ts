import { median, rate, takeTurns } from '../compare.ts'
import type { SuiteOptions } from '../main.ts'
import type { PostgresBed } from '../postgres-bed.ts'
import { number } from '../table.ts'
import { verdict } from '../target.ts'
import { openOurs } from './ours.ts'
import { payloads } from './sides.ts'

/** Enough messages that a step of the kernel's CPU clock, 10 ms, is less than 2 % of what one group takes. */
const COUNT = 100_000
const MORE = 3

/** Measures what each further group costs PostgreSQL, as a share of the first one's cost: all groups read one copy. */
export async function measureGroups(bed: PostgresBed, { rounds, report, progress }: SuiteOptions): Promise<void> {
  progress('groups')
  await using one = await openOurs(await bed.database('one_group'), ['g0'])
  const names = Array.from({ length: 1 + MORE }, (_, n) => `g${n}`)
  await using all = await openOurs(await bed.database('more_groups'), names)
  const turn = (side: typeof one) => async () => {
    await side.publish(payloads(COUNT))
    const before = bed.cpuUs()
    const measured = await side.consume(COUNT)
    return { rate: rate(measured), cpuUs: (bed.cpuUs() - before) / COUNT }
  }
  const [first = [], more = []] = await takeTurns([turn(one), turn(all)], { rounds })
  const cpuOf = (side: typeof first): number => median(side.map(({ cpuUs }) => cpuUs))
  const further = (cpuOf(more) - cpuOf(first)) / MORE
  const row = (groups: number, side: typeof first): string[] => [
    String(groups),
    number(median(side.map((did) => did.rate))),
    number(cpuOf(side)),
    groups === 1 ? '-' : (further / cpuOf(first)).toFixed(2),
    groups === 1 ? '-' : verdict(further / cpuOf(first), { atMost: 0.35 }),
  ]
  report({
    title: `postgres: groups that read the same ${COUNT} messages, medians of ${rounds} rounds`,
    head: ['groups', 'messages/s', 'CPU of PostgreSQL per message, us', 'each further / first', 'target'],
    rows: [row(1, first), row(1 + MORE, more)],
  })
}
