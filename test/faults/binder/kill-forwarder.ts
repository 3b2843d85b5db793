import { setTimeout as sleep } from 'node:timers/promises'
import { AssignerProtocol, Kafka, logLevel } from 'kafkajs'
import { nowMs } from '../harness/events.ts'
import type { Random } from '../harness/random.ts'
import { reminders } from './channels.ts'
import type { Member, Site } from './site.ts'

const FOUND_WITHIN_MS = 20_000
/** Time after which the forwarder has fetched an accepted message. */
const FETCHED_MS = 150
/** Kafka's first tier: messages due within a second. */
const TIER = 0
const TIER_MS = 1_000

/** `kill -9` of who holds delayed messages in the middle of moving them: some are due, some are not. */
export function forwarderKill(site: Site, random: Random): Promise<string | undefined> {
  return site.transport === 'kafka' ? killForwarder(site, random) : killBroker(site, random)
}

async function killForwarder(site: Site, random: Random): Promise<string | undefined> {
  await sleep(random.between(300, 900))
  const victim = await forwarderOf(site, `${reminders.name}.delay`, TIER)
  site.fault(`answers to ${victim.name} do not come back`, [victim])
  const from = nowMs()
  // In half of the cases its forwarded messages do not arrive either.
  victim.link.hold(random.chance(0.5) ? 'replies' : 'both')
  await sleep(random.between(350, 550))
  const held = heldSince(site, from)
  await site.kill(victim)
  await site.hire(victim.role)
  if (victim.role === 'sender') site.send('b')
  site.note('healed', 'another is in its place')
  return held.due > 0 && held.waiting > 0
    ? `${victim.name} died with ${held.due} due and ${held.waiting} not yet due`
    : undefined
}

/** RabbitMQ moves them itself; of a PostgreSQL any process does, by a statement. */
async function killBroker(site: Site, random: Random): Promise<string | undefined> {
  await sleep(random.between(300, 900))
  site.fault('the broker is killed', site.members)
  const from = nowMs()
  await site.server.kill()
  await sleep(random.between(300, 600))
  await site.server.start()
  const held = heldSince(site, from)
  site.note('healed', 'the broker answers')
  const count = held.due + held.waiting
  return count > 0 ? `the broker died with ${count} not yet due, ${held.due} were due when it came back` : undefined
}

/** Counts delayed messages that a forwarder held then and had not yet moved: those due by now, and the others. */
function heldSince(site: Site, from: number): { readonly due: number; readonly waiting: number } {
  const now = nowMs()
  site.ledger.read()
  const accepted = site.ledger.events.filter(
    ({ op, type, at }) => op === 'delay' && type === 'ok' && at < from - FETCHED_MS,
  )
  // Counted from when it was confirmed, a little later than from when it was sent.
  const dueAt = accepted.map(({ at, delayMs }) => at + Number(delayMs)).filter((at) => at > from && at < from + TIER_MS)
  const due = dueAt.filter((at) => at <= now).length
  return { due, waiting: dueAt.length - due }
}

/** Finds the member that forwards a tier's messages, from the broker's group. */
async function forwarderOf(site: Site, topic: string, tier: number): Promise<Member> {
  const admin = new Kafka({ brokers: [site.server.url], logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  try {
    const deadline = performance.now() + FOUND_WITHIN_MS
    while (performance.now() < deadline) {
      const { groups } = await admin.describeGroups([`concordat.${topic}`])
      const owner = groups[0]?.members.find(({ memberAssignment }) => {
        const assignment = AssignerProtocol.MemberAssignment.decode(memberAssignment)?.assignment ?? {}
        return assignment[topic]?.includes(tier) === true
      })
      const member = site.members.find(({ name }) => name === owner?.clientId)
      if (member !== undefined) return member
      await sleep(100)
    }
  } finally {
    await admin.disconnect()
  }
  throw new Error(`nobody forwards tier ${tier} of ${topic}`)
}
