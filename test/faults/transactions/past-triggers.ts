/** The fault of undo that no trigger refuses, and who puts it right. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Random } from '../harness/random.ts'
import { HOUSES } from './bank.ts'
import type { House } from './house.ts'
import { Operator } from './operator.ts'
import type { Crossed, Strangers } from './strangers.ts'

/** Number of transactions that must turn back with changed rows before the fault ends. */
const TURNED = 3
/** Limit on open ones: each of them that turns back is work for an operator. */
const MOST_OPEN = 8
const EVERY_MS = 50
/** Time without an end after which the fault gives up. */
const PATIENCE_MS = 60_000

interface Line {
  readonly saga: string
  readonly id: string
  readonly status: string
}

/**
 * Strangers change rows that undo holds, past its triggers, until enough of those transactions have turned back: they must be stuck,
 * and an operator sees to them. Then it waits for all of them.
 */
export async function pastTriggers(house: House, random: Random, strangers: Strangers): Promise<string | undefined> {
  const operator = new Operator(house)
  const crossed: Crossed[] = []
  let turned = 0
  let ended = 0
  let deadline = performance.now() + PATIENCE_MS
  house.staff.note('fault', 'rows are changed past the triggers')
  for (let isOver = false; !isOver && performance.now() < deadline; await sleep(EVERY_MS)) {
    const lines = await linesOf(house, crossed)
    for (const line of lines) if (line.status === 'stuck') await operator.putRight(line, crossed)
    const over = lines.filter(({ status }) => status === 'completed' || status === 'compensated')
    turned = over.filter(({ status }) => status === 'compensated').length
    const isTakenBack = await operator.takeBack()
    isOver = turned >= TURNED && over.length === lines.length && isTakenBack
    if (over.length > ended) deadline = performance.now() + PATIENCE_MS
    ended = over.length
    if (turned < TURNED && lines.length - ended < MOST_OPEN) {
      // An update that waits too long for its row, or whose transaction is decided first, changes nothing.
      crossed.push(...(await strangers.movePast(random.pick(HOUSES)).catch(() => [])))
    }
  }
  house.staff.note('healed', 'no more writes past the triggers')
  if (turned === 0) return undefined
  return `rows of ${ended} transactions were changed under them; ${turned} turned back, an operator put ${operator.settled} branches right`
}

/** Present line of each transaction whose row was changed. */
async function linesOf(house: House, crossed: readonly Crossed[]): Promise<readonly Line[]> {
  const { rows } = await house.sql.desk.query<Line>(
    `SELECT s.name AS saga, s.id, s.status FROM concordat.saga s
     WHERE (s.name, s.id) IN (SELECT * FROM unnest($1::text[], $2::text[]))`,
    [crossed.map(({ saga }) => saga), crossed.map(({ id }) => id)],
  )
  return rows
}
