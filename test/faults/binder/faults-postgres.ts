/** What only a log in PostgreSQL can have done to it. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Random } from '../harness/random.ts'
import { type BinderFault, doneByAnother } from './fault.ts'
import type { Unsettled } from './log-database.ts'
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
]

const KILLS = 3
/** After its session others have its places; a busy machine takes long for their work. */
const MOVED_WITHIN_MS = 60_000

async function idleKill(site: Site, random: Random): Promise<string | undefined> {
  let undone = 0
  for (let n = 0; n < KILLS; n++) {
    await sleep(random.between(300, 900))
    await site.idle()
    // Places are written within 200 ms.
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

/** What it has when it goes on is behind what others have settled: a write of it is seen. */
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
  const victim = await site.lingerer(300, true)
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
  // By then it has learned that others have its places.
  await sleep(2 * SESSION_MS)
  site.back(member)
  await sleep(2_000)
  if (other === undefined || !hasMoved || open === 0) return undefined
  return `${other} had ${key}/${n} before ${member.name} went on with it, ${open} transactions were open`
}
