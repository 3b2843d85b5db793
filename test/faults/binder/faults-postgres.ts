/** Faults that are only possible on a log in PostgreSQL. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Random } from '../harness/random.ts'
import { type BinderFault, doneByAnother } from './fault.ts'
import type { Unsettled } from './log-database.ts'
import type { Lingers } from './place.ts'
import { SESSION_MS } from './settings.ts'
import type { Site } from './site.ts'

export const LOG_FAULTS: readonly BinderFault[] = [
  {
    name: 'idle-kill',
    what: 'the broker is killed when nobody sends and everything has just been handled: nothing flushes the last places',
    on: 'postgres',
    play: idleKill,
  },
  {
    name: 'freeze-in-transaction',
    what: 'a consumer stands still in an open transaction that has read the log, until another has done its work',
    on: 'postgres',
    play: freezeInTransaction,
  },
  ...(['before its place', 'after its place'] as const).map((where) => ({
    name: `freeze-${where.replaceAll(' ', '-')}`,
    what: `a consumer stands still in the transaction of a handler, ${where} was written, until another has done its work`,
    on: 'postgres' as const,
    play: (site: Site, random: Random) => freezeAtPlace(site, random, where),
  })),
]

const KILLS = 3
/** After its session others have its partitions; a busy machine takes long for their work. */
const MOVED_WITHIN_MS = 60_000

async function idleKill(site: Site, random: Random): Promise<string | undefined> {
  let undone = 0
  for (let n = 0; n < KILLS; n++) {
    await sleep(random.between(300, 900))
    await site.idle()
    // Positions are written within 200 ms.
    await sleep(random.between(0, 250))
    const before = await site.log.versions()
    site.fault('the broker is killed, and nobody sends', site.members)
    await site.server.kill()
    await site.server.start()
    site.note('healed', 'the broker answers')
    undone += before - (await site.log.versions())
    site.send(`i${n}`)
  }
  await sleep(500)
  return `${KILLS} times, and ${undone} places were undone`
}

/** Waits until others have settled positions beyond those of the blocked process, so that a late write of it would show. */
async function movedOn(site: Site, held: readonly Unsettled[]): Promise<boolean> {
  const deadline = performance.now() + MOVED_WITHIN_MS
  while (performance.now() < deadline) {
    if (await site.log.haveMovedOn(held)) return true
    await sleep(100)
  }
  return false
}

async function freezeInTransaction(site: Site, random: Random): Promise<string | undefined> {
  await sleep(random.between(200, 500))
  const victim = await site.lingerer(300, 'transaction')
  const { member, key, n } = victim
  site.fault(`${member.name} stands still with ${key}/${n} in a transaction`, [member])
  member.actor.stop()
  const held = await site.log.unsettled()
  const other = await doneByAnother(site, victim, MOVED_WITHIN_MS)
  const hasMoved = await movedOn(site, held)
  const open = await site.log.transactions()
  const wentOn = member.actor.next('goes on', ({ op }) => op === 'goes on', 30_000)
  member.actor.resume()
  site.note('healed', `${member.name} goes on`)
  await wentOn
  // By then the member has learned that others have its assignments.
  await sleep(2 * SESSION_MS)
  site.back(member)
  await sleep(2_000)
  if (other === undefined || !hasMoved || open === 0) return undefined
  return `${other} had ${key}/${n} before ${member.name} went on with it, ${open} transactions were open`
}

/**
 * Freezes a process at a position update: nothing waits for it longer than its lease, and its write is rolled back when
 * it resumes.
 */
async function freezeAtPlace(site: Site, random: Random, where: Lingers): Promise<string | undefined> {
  await sleep(random.between(200, 500))
  const { member, key, n, text } = await site.lingerer(300, where)
  site.fault(`${member.name} stands still with the entry ${key}/${n}, ${where} was written`, [member])
  member.actor.stop()
  const beganAt = performance.now()
  const other = await writtenByAnother(site, member.name, text)
  const tookMs = Math.round(performance.now() - beganAt)
  const wentOn = member.actor.next('goes on', ({ op }) => op === 'goes on', 30_000)
  member.actor.resume()
  site.note('healed', `${member.name} goes on`)
  await wentOn
  await sleep(2 * SESSION_MS)
  site.back(member)
  if (other === undefined) return undefined
  return `${other} wrote ${key}/${n} ${tookMs} ms after ${member.name} had stopped ${where} was written`
}

async function writtenByAnother(site: Site, name: string, id: string): Promise<string | undefined> {
  const deadline = performance.now() + (site.isBroken ? 3 * SESSION_MS : MOVED_WITHIN_MS)
  while (performance.now() < deadline) {
    const other = (await site.log.writersOf(id)).find((each) => each !== name)
    if (other !== undefined) return other
    await sleep(50)
  }
  return undefined
}
