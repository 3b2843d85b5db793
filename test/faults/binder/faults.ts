import { setTimeout as sleep } from 'node:timers/promises'
import { type Admin, Kafka, logLevel } from 'kafkajs'
import { nowMs } from '../harness/events.ts'
import type { Random } from '../harness/random.ts'
import { type BinderFault, doneByAnother } from './fault.ts'
import { LOG_FAULTS } from './faults-postgres.ts'
import { forwarderKill } from './kill-forwarder.ts'
import { isStep } from './ledger.ts'
import { FREEZE_MS, REBALANCE_MS, SESSION_MS, SLOW_MS } from './settings.ts'
import type { Lingerer, Member, Site } from './site.ts'

export const BINDER_FAULTS: readonly BinderFault[] = [
  { name: 'none', what: 'to compare with', play: () => sleep(1_500).then(() => 'nothing was broken') },
  { name: 'broker-kill', what: 'kill -9 of the broker while all send and handle, and its restart', play: brokerKill },
  { name: 'broker-freeze', what: 'the broker stands still for longer than any session', play: brokerFreeze },
  { name: 'consumer-kill', what: 'kill -9 of a consumer in the middle of a handler', play: consumerKill },
  {
    name: 'consumer-freeze',
    what: 'a consumer stands still in the middle of a handler until another has done its work, and goes on',
    play: consumerFreeze,
  },
  { name: 'sender-kill', what: 'kill -9 of a sender whose confirms are on their way', play: senderKill },
  {
    name: 'forwarder-kill',
    what: 'kill -9 of who holds delayed messages, due and not yet due: on Kafka their forwarder, else the broker',
    play: forwarderKill,
  },
  { name: 'slow-handler', what: 'a handler that takes longer than sessions and polls may', play: slowHandler },
  {
    name: 'cpu-bound',
    what: 'each handler call of a consumer takes the processor for a while, together longer than any session',
    play: cpuBound,
  },
  {
    name: 'expired-offsets',
    what: 'the groups are forgotten while nobody is in them',
    on: 'kafka',
    play: expiredOffsets,
  },
  { name: 'rebalance-storm', what: 'members join and leave every second', play: rebalanceStorm },
  {
    name: 'cut',
    what: 'connections break in the middle of confirms and of acknowledgements, which are lost',
    play: cut,
  },
  ...LOG_FAULTS,
]

async function brokerKill(site: Site, random: Random): Promise<string | undefined> {
  await sleep(random.between(300, 900))
  const { pid } = site.server
  const before = lost(site.members)
  const open = await whenBusy(site)
  site.fault('the broker is killed', site.members)
  await site.server.kill()
  await sleep(random.between(0, 1_000))
  await site.server.start()
  site.note('healed', 'the broker answers')
  const broken = lost(site.members) - before
  await sleep(500)
  return site.server.pid !== pid && broken > 0 && open > 0
    ? `another process, ${broken} connections were lost, ${open} operations were under way`
    : undefined
}

async function brokerFreeze(site: Site, random: Random): Promise<string | undefined> {
  await sleep(random.between(300, 900))
  const before = unsure(site)
  site.fault('the broker stands still', site.members)
  site.server.pause()
  let held = 0
  try {
    await sleep(FREEZE_MS + random.between(0, 1_000))
    held = openOf(site, site.sender, SESSION_MS)
  } finally {
    site.server.resume()
  }
  site.note('healed', 'the broker goes on')
  const failed = unsure(site) - before
  return failed + held > 0
    ? `${failed} sends were given up meanwhile, ${held} waited for longer than a session`
    : undefined
}

/** Time after which the process has settled everything that a mistake settles too early. */
const SETTLED_MS = 1_000

async function consumerKill(site: Site, random: Random): Promise<string | undefined> {
  const victims: Lingerer[] = []
  for (let n = 0; n < 2; n++) {
    await sleep(random.between(200, 500))
    const victim = await site.lingerer(60_000)
    await sleep(SETTLED_MS + random.between(0, 300))
    await site.kill(victim.member)
    await site.hire('consumer')
    victims.push(victim)
  }
  site.note('healed', 'others are in their places')
  const others = await Promise.all(
    victims.map((victim) => doneByAnother(site, victim, site.isBroken ? SESSION_MS : 6 * SESSION_MS)),
  )
  if (others.includes(undefined)) return undefined
  return victims.map(({ member, key, n }, i) => `${member.name} died with ${key}/${n}, ${others[i]} had it`).join('; ')
}

async function consumerFreeze(site: Site, random: Random): Promise<string | undefined> {
  await sleep(random.between(200, 500))
  const victim = await site.lingerer(300)
  const { member, key, n } = victim
  site.fault(`${member.name} stands still with ${key}/${n}`, [member])
  member.actor.stop()
  const other = await doneByAnother(site, victim, 6 * SESSION_MS)
  await sleep(random.between(0, 500))
  const wentOn = member.actor.next('goes on', ({ op }) => op === 'goes on', 30_000)
  member.actor.resume()
  site.note('healed', `${member.name} goes on`)
  await wentOn
  return other === undefined ? undefined : `${other} had ${key}/${n} before ${member.name} went on with it`
}

async function senderKill(site: Site, random: Random): Promise<string | undefined> {
  await sleep(random.between(300, 900))
  const { sender } = site
  site.fault('confirms do not come back', [])
  // Half of the time the messages themselves do not arrive either.
  sender.link.hold(random.chance(0.5) ? 'both' : 'requests')
  await sleep(random.between(300, 800))
  const open = openOf(site, sender)
  await site.kill(sender)
  await site.hire('sender')
  site.send('b')
  site.note('healed', 'another sender is in its place')
  await sleep(500)
  return open > 0 ? `it died with ${open} sends under way` : undefined
}

async function slowHandler(site: Site, random: Random): Promise<string | undefined> {
  await sleep(random.between(200, 500))
  const { member, key, n } = await site.lingerer(SLOW_MS)
  site.note('act', `${member.name} takes ${SLOW_MS} ms for ${key}/${n}`)
  const before = site.ledger.done('audit').size
  const begun = performance.now()
  await member.actor.next('goes on', ({ op }) => op === 'goes on', 4 * SLOW_MS)
  const took = performance.now() - begun
  site.ledger.read()
  const others = site.ledger.done('audit').size - before
  const isSlow = took > SESSION_MS && took > REBALANCE_MS
  return isSlow && others > 0 ? `${key}/${n} took ${took.toFixed(0)} ms, ${others} others were handled` : undefined
}

const BURN_MS = 120

/** Breaks nothing: the busy consumer keeps its partitions, and no message is redelivered. */
async function cpuBound(site: Site, random: Random): Promise<string | undefined> {
  await sleep(random.between(200, 500))
  const { actor, name } = random.pick(site.of('consumer'))
  const handled = (): number =>
    site.ledger.count(({ process, op, type }) => process.startsWith(`${name}.`) && op === 'work' && type === 'ok')
  site.ledger.read()
  const before = handled()
  actor.order({ do: 'burn', ms: BURN_MS })
  site.note('act', `${name} takes ${BURN_MS} ms of the processor for each message`)
  await sleep(2 * SESSION_MS)
  actor.order({ do: 'burn', ms: 0 })
  site.ledger.read()
  const since = handled() - before
  return since * BURN_MS > SESSION_MS
    ? `${name} handled ${since} messages, each with ${BURN_MS} ms of the processor`
    : undefined
}

/** Deletes the groups, like `offsets.retention.minutes` does: all messages are redelivered, none is lost. */
async function expiredOffsets(site: Site, random: Random): Promise<string | undefined> {
  await sleep(random.between(300, 900))
  const consumers = site.of('consumer')
  for (const member of consumers) await site.kill(member)
  const admin = new Kafka({ brokers: [site.server.url], logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  try {
    const { groups } = await admin.listGroups()
    // The sender is a member of the groups that forward delayed messages.
    const names = groups.map(({ groupId }) => groupId).filter((name) => !name.endsWith('.delay'))
    for (const name of names) await forget(admin, name)
    site.note('act', `${names.length} groups are forgotten`)
    for (const _ of consumers) await site.hire('consumer')
    site.note('healed', 'others are in their places')
    return names.length > 0 ? `${names.length} groups were forgotten` : undefined
  } finally {
    await admin.disconnect()
  }
}

/** Deletes a group as soon as the broker has removed its dead members. */
async function forget(admin: Admin, name: string): Promise<void> {
  const deadline = performance.now() + 6 * SESSION_MS
  for (;;) {
    try {
      await admin.deleteGroups([name])
      return
    } catch (error) {
      if (performance.now() > deadline) throw error
      await sleep(200)
    }
  }
}

const JOINS = 4
/** Four joins take up to 15 s with one broker. With three brokers on two cores one join took up to 18 s. */
const DRIFTED_WITHIN_MS = 240_000

async function rebalanceStorm(site: Site, random: Random): Promise<string | undefined> {
  const drifters = await Promise.all([site.hire('drifter'), site.hire('drifter')])
  site.fault('members come and go', [])
  const over = drifters.map(async ({ actor }, i) => {
    await sleep(i * random.between(300, 700))
    actor.order({ do: 'drift', times: JOINS, everyMs: 1_000 })
    await actor.next('drifted', ({ op }) => op === 'drifted', DRIFTED_WITHIN_MS)
  })
  await Promise.all(over)
  site.note('healed', 'nobody comes and goes any more')
  const names = new Set(drifters.map(({ name }) => `${name}.0`))
  const handled = site.ledger.count(({ process, op, type }) => names.has(process) && op === 'work' && type === 'ok')
  for (const drifter of drifters) await site.dismiss(drifter)
  return handled > 0 ? `${2 * JOINS} joins and leaves, they handled ${handled} messages meanwhile` : undefined
}

async function cut(site: Site, random: Random): Promise<string | undefined> {
  let open = 0
  let broken = 0
  for (let n = 0; n < 3; n++) {
    await sleep(random.between(200, 600))
    const consumer = random.pick(site.of('consumer'))
    const both = [site.sender, consumer]
    site.fault(`confirms of ${site.sender.name} and acknowledgements of ${consumer.name} are held back`, both)
    site.sender.link.hold('replies')
    consumer.link.hold('requests')
    await sleep(random.between(200, 500))
    open += openOf(site, site.sender)
    const before = lost(both)
    for (const { link } of both) link.cut()
    await sleep(random.between(0, 400))
    for (const { link } of both) link.heal()
    broken += lost(both) - before
  }
  site.note('healed', 'connections last')
  return open > 0 && broken > 0 ? `${broken} connections broke, with ${open} sends under way` : undefined
}

/** Waits for a moment at which something is under way. @returns how much */
export async function whenBusy(site: Site): Promise<number> {
  for (let looks = 0; looks < 2_000; looks++) {
    const open = openOf(site)
    if (open > 0) return open
    await sleep(5)
  }
  return 0
}

export function lost(members: readonly Member[]): number {
  return members.reduce((sum, { link }) => sum + link.lost, 0)
}

function unsure(site: Site): number {
  return site.ledger.count(({ op, type }) => op === 'send' && type === 'info')
}

/** Sends and handler calls begun at least `sinceMs` ago and not ended. */
function openOf(site: Site, member?: Member, sinceMs = 0): number {
  site.ledger.read()
  const before = nowMs() - sinceMs
  const open = new Set<string | undefined>()
  for (const event of site.ledger.events) {
    if (!isStep(event)) continue
    if (event.type !== 'invoke') open.delete(event.id)
    else if (event.at <= before) open.add(event.id)
  }
  const own = [...open].filter((id) => member === undefined || id?.startsWith(`${member.name}.`))
  return own.length
}
