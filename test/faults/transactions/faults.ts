import { setTimeout as sleep } from 'node:timers/promises'
import type { Random } from '../harness/random.ts'
import type { FaultSpec } from '../harness/suite.ts'
import type { House, Member } from './house.ts'
import type { BranchKind } from './kinds.ts'
import { pastTriggers } from './past-triggers.ts'
import type { Moment, Role, Site } from './place.ts'
import { LEASE_MS, LOCK_TIMEOUT_MS } from './settings.ts'
import type { Strangers } from './strangers.ts'

export interface TransactionFault extends FaultSpec {
  /** The only branches that it is played at. @default all */
  readonly needs?: BranchKind | undefined
  /** Plays it while transfers are under way. @returns how one sees that it happened */
  play(house: House, random: Random, strangers: Strangers): Promise<string | undefined>
}

/** Steps of a process between an order and its death: a transfer takes each of its processes about thirty. */
const DIES_WITHIN = 120
/** Transfers must come by for it to happen. */
const DIES_IN_MS = 60_000
/** The process receives nothing until it is stopped, and then for as long as it is stopped. */
const DEAF_MS = 200

export const FAULTS: readonly TransactionFault[] = [
  { name: 'none', what: 'to compare with', play: () => sleep(1_500).then(() => 'nothing was broken') },
  {
    name: 'kill-desks',
    what: 'kill -9 of coordinators before or after any of their statements and commits, one after the other',
    play: (house, random) => killAtSteps(house, random, ['desk', 'desk', 'desk']),
  },
  {
    name: 'kill-banks',
    what: 'kill -9 of participants of both banks before or after any of their statements, commits and preparations',
    play: (house, random) => killAtSteps(house, random, random.shuffled(['north', 'south', 'north', 'south'])),
  },
  {
    name: 'kill-at-decision',
    what: 'kill -9 of coordinators when they have written a decision and not committed it',
    play: (house) => killAll(house, ['desk', 'desk'], () => ({ nth: 1, when: 'before', of: 'DECISION' })),
  },
  {
    name: 'orphan-prepared',
    what: 'kill -9 of participants when their server has prepared a transaction and they have not written that down',
    needs: 'xa',
    play: orphanPrepared,
  },
  {
    name: 'stop-desks',
    what: 'a coordinator is stopped at any of its steps, past its lease, and goes on when others have done its work',
    play: (house, random) => stopAtStep(house, random, ['desk']),
  },
  {
    name: 'stop-banks',
    what: 'a participant of each bank is stopped at any of its steps, until its commands were sent again, and goes on',
    play: (house, random) => stopAtStep(house, random, ['south', 'north']),
  },
  {
    name: 'restart-immediate',
    what: 'each server is stopped at once and started again, the last ones at the same time',
    play: restartAll,
  },
  { name: 'repeats', what: 'commands and replies leave twice, late and in any order', play: repeats },
  {
    name: 'foreign-locks',
    what: 'others, who know nothing of transactions, keep the rows for longer than a participant waits for them',
    play: foreignLocks,
  },
  {
    name: 'foreign-writes',
    what: 'others, who know nothing of transactions, want to write the rows that undo holds, all the time',
    needs: 'undo',
    play: foreignWrites,
  },
  {
    name: 'past-triggers',
    what: 'others change rows that undo holds, and its triggers do not see them; an operator puts that right',
    needs: 'undo',
    play: pastTriggers,
  },
]

type At = (random: Random) => Moment

const anyStep: At = (random) => ({
  nth: random.between(1, DIES_WITHIN),
  when: random.chance(0.5) ? 'before' : 'after',
})

function killAtSteps(house: House, random: Random, roles: readonly Role[]): Promise<string | undefined> {
  return killAll(house, roles, () => anyStep(random))
}

/** Kills one process after the other at the given moment, and replaces each. */
async function killAll(house: House, roles: readonly Role[], at: () => Moment): Promise<string | undefined> {
  const died: string[] = []
  for (const role of roles) {
    await sleep(200)
    const { member, step } = await dieOne(house, house.staff.of(role), at())
    await house.staff.kill(member)
    died.push(`${member.name} ${step}`)
    await house.staff.hire(role)
  }
  house.staff.note('healed', 'others are in their places')
  return `died ${died.join('; ')}`
}

interface Death {
  readonly member: Member
  /** Text of the step at which it died: its beginning, and all of it. */
  readonly step: string
  readonly key: string
}

/** Kills the first of these processes that reaches the moment; the others get the order to continue. */
async function dieOne(house: House, among: readonly Member[], at: Moment): Promise<Death> {
  const found = Promise.withResolvers<Death>()
  const unwatch = among.map((member) =>
    member.actor.watch(({ op, text = '', key = '' }) => {
      if (op === 'dies') found.resolve({ member, step: text, key })
    }),
  )
  const timer = setTimeout(() => found.reject(new Error(`nobody came to ${at.of ?? 'a step'}`)), DIES_IN_MS)
  const [victim = among[0]] = among
  victim?.actor.order({ do: 'die', at })
  try {
    const death = await found.promise
    await death.member.actor.gone(DIES_IN_MS)
    house.staff.note('fault', `${death.member.name} dies ${death.step}`)
    return death
  } finally {
    clearTimeout(timer)
    for (const stop of unwatch) stop()
  }
}

async function orphanPrepared(house: House, random: Random): Promise<string | undefined> {
  const orphans: string[] = []
  for (const role of random.shuffled(['north', 'south'] as const)) {
    await sleep(200)
    const at: Moment = { nth: random.between(1, 4), when: 'after', of: 'PREPARE ' }
    const { member, key } = await dieOne(house, house.staff.of(role), at)
    const gid = key.slice('PREPARE '.length)
    const site = role === 'south' ? 'vault' : role
    if ((await house.prepared(site)).includes(gid)) orphans.push(gid)
    await house.staff.kill(member)
    await house.staff.hire(role)
  }
  house.staff.note('healed', 'others are in their places')
  return orphans.length > 0 ? `left prepared by the dead: ${orphans.join(', ')}` : undefined
}

async function stopAtStep(house: House, random: Random, roles: readonly Role[]): Promise<string | undefined> {
  const stopped: string[] = []
  const members: Member[] = []
  for (const role of roles) {
    await sleep(random.between(100, 400))
    const { member, key } = await house.staff.lingerer(house.staff.of(role), DEAF_MS, true)
    house.staff.note('fault', `${member.name} is stopped ${key}`)
    member.actor.stop()
    members.push(member)
    stopped.push(`${member.name} ${key}`)
  }
  const ms = LEASE_MS + random.between(500, 2_000)
  await sleep(ms)
  for (const { actor } of members) actor.resume()
  house.staff.note('healed', `${members.map(({ name }) => name).join(' and ')} go on`)
  await sleep(500)
  return `stood still for ${ms} ms: ${stopped.join('; ')}`
}

async function restartAll(house: House, random: Random): Promise<string | undefined> {
  const away = (): number => random.between(0, 800)
  const [first, ...others] = random.shuffled(house.sites())
  const under: number[] = []
  const again: boolean[] = []
  for (const sites of [[first as Site], others]) {
    await sleep(random.between(400, 900))
    under.push(...(await Promise.all(sites.map(async (site) => (await house.prepared(site)).length))))
    again.push(...(await Promise.all(sites.map((site) => house.restart(site, away())))))
    await sleep(800)
  }
  return again.every(Boolean)
    ? `${again.length} other servers; ${under.join(', ')} transactions were prepared on them`
    : undefined
}

/** Longest time that the fault lasts while there is no evidence that it happened. */
const REPEATS_MS = 20_000

async function repeats(house: House, random: Random): Promise<string | undefined> {
  let copies = 0
  let ignored = 0
  const { staff } = house
  const unwatch = staff.members.map(({ actor }) =>
    actor.watch(({ op, text }) => {
      if (op === 'repeated') copies++
      if (text === 'late or repeated reply ignored') ignored++
    }),
  )
  staff.order({ do: 'repeat', chance: 0.6 })
  staff.note('fault', 'messages leave twice')
  await sleep(random.between(2_000, 3_000))
  const deadline = performance.now() + REPEATS_MS
  while ((copies === 0 || ignored === 0) && performance.now() < deadline) await sleep(100)
  staff.order({ do: 'repeat', chance: 0 })
  staff.note('healed', 'messages leave once')
  await sleep(1_200)
  for (const stop of unwatch) stop()
  return copies > 0 && ignored > 0 ? `${copies} copies, ${ignored} replies ignored` : undefined
}

async function foreignLocks(house: House, random: Random, strangers: Strangers): Promise<string | undefined> {
  const before = strangers.done
  const usual = strangers.holdMs
  strangers.holdMs = [LOCK_TIMEOUT_MS, LOCK_TIMEOUT_MS + 700]
  house.staff.note('fault', 'rows are kept by others')
  await sleep(random.between(4_000, 6_000))
  strangers.holdMs = usual
  house.staff.note('healed', 'rows are free')
  const kept = strangers.done - before
  return kept > 0 ? `${kept} times rows were kept, ${strangers.waited} times they were not free` : undefined
}

/** Longest time that the fault lasts until this number was refused. */
const REFUSES_MS = 30_000
const REFUSED = 20

async function foreignWrites(house: House, random: Random, strangers: Strangers): Promise<string | undefined> {
  const [before, usual] = [strangers.refused, strangers.everyMs]
  strangers.everyMs = 5
  house.staff.note('fault', 'others want to write all the time')
  await sleep(random.between(2_000, 4_000))
  const deadline = performance.now() + REFUSES_MS
  while (strangers.refused - before < REFUSED && performance.now() < deadline) await sleep(100)
  strangers.everyMs = usual
  house.staff.note('healed', 'others write as before')
  const refused = strangers.refused - before
  return refused >= REFUSED ? `${refused} transactions of others were refused` : undefined
}
