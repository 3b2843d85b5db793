import { setTimeout as sleep } from 'node:timers/promises'
import { MINUTE, SECOND } from 'concordat/core'
import type { Random } from '../harness/random.ts'
import type { FaultSpec } from '../harness/suite.ts'
import type { Company, Lingerer, Member } from './company.ts'
import { ASK_AGAIN_MS, LEASE_MS } from './settings.ts'

export interface SagaFault extends FaultSpec {
  /** Plays it while transfers are under way. @returns how one sees that it happened */
  play(company: Company, random: Random): Promise<string | undefined>
}

/** Longer than they live: they are killed long before. */
const LINGER_MS = 10_000
/** The process receives nothing until it is stopped, and then for as long as it is stopped. */
const DEAF_MS = 200

export const SAGA_FAULTS: readonly SagaFault[] = [
  { name: 'none', what: 'to compare with', play: () => sleep(1_500).then(() => 'nothing was broken') },
  {
    name: 'kill-coordinators',
    what: 'kill -9 of coordinators in the middle of local steps, one after the other',
    play: (company, random) => killTwo(company, random, ['coordinator', 'coordinator']),
  },
  {
    name: 'kill-participants',
    what: 'kill -9 of participants of both services, in the middle of their transactions',
    play: (company, random) => killTwo(company, random, random.shuffled(['debit', 'credit'])),
  },
  { name: 'kill-any', what: 'kill -9 of any processes at any moment, two at a time', play: killAny },
  { name: 'postgres-restart', what: 'both databases are gone at once and come back', play: postgresRestart },
  { name: 'broker-kill', what: 'kill -9 of the broker, and its restart', play: brokerKill },
  {
    name: 'stop-coordinator',
    what: 'a coordinator is stopped between its effect and its write, past its lease, and writes when it wakes up',
    play: stopCoordinator,
  },
  {
    name: 'stop-participants',
    what: 'participants of both services are stopped in the middle of their transactions, and go on later',
    play: stopParticipants,
  },
  {
    name: 'failing-participant',
    what: 'every command for some of the accounts fails for a while, and all other transfers continue',
    play: failingParticipant,
  },
  {
    name: 'clock-back',
    what: 'the clock of the databases is set back by minutes, and to where it was, while all processes and their clocks go on',
    play: (company, random) => clockSteps(company, -random.between(10, 60) * MINUTE),
  },
  {
    name: 'clock-ahead',
    what: 'it is set ahead by minutes, and to where it was',
    play: (company, random) => clockSteps(company, random.between(10, 60) * MINUTE),
  },
  { name: 'repeats', what: 'commands and replies leave twice, late and in any order', play: repeats },
]

async function killTwo(company: Company, random: Random, roles: readonly Member['role'][]): Promise<string> {
  const keys: string[] = []
  for (const role of roles) {
    await sleep(random.between(200, 500))
    const { member, key } = await company.lingerer(company.of(role), LINGER_MS, false)
    await company.kill(member)
    await company.hire(role)
    keys.push(key)
  }
  company.note('healed', 'others are in their places')
  const by = await Promise.all(keys.map((key) => undone(company, key)))
  return `died before the commit of ${keys.join(' and ')}, of which ${by.join(' and ')} was left`
}

/** State of the effect whose worker died before its commit: done by another worker, or not yet. */
async function undone(company: Company, key: string): Promise<string> {
  const text = 'SELECT worker FROM effect WHERE key = $1'
  const found = await Promise.all(
    [company.here, company.there].map((sql) => sql.query<{ worker: string }>(text, [key])),
  )
  const workers = found.flatMap(({ rows }) => rows.map(({ worker }) => worker))
  return workers.length === 0 ? 'nothing' : workers.join(', ')
}

async function killAny(company: Company, random: Random): Promise<string | undefined> {
  let owned = 0
  for (let n = 0; n < 3; n++) {
    await sleep(random.between(100, 500))
    const victims = random.shuffled(company.members).slice(0, 2)
    await Promise.all(victims.map((victim) => company.kill(victim)))
    owned += await open(company)
    await Promise.all(victims.map(({ role }) => company.hire(role)))
  }
  company.note('healed', 'others are in their places')
  return owned > 0 ? `6 processes died, with ${owned} sagas under way` : undefined
}

async function postgresRestart(company: Company, random: Random): Promise<string | undefined> {
  await sleep(random.between(300, 900))
  const [under, before] = [await open(company), await bornAt(company)]
  company.note('fault', 'PostgreSQL ends at once')
  await company.postgres.kill()
  await sleep(random.between(0, 1_000))
  await company.postgres.start()
  company.note('healed', 'PostgreSQL answers')
  await sleep(1_000)
  const after = await bornAt(company)
  return after > before && under > 0 ? `another postmaster, ${under} sagas were under way` : undefined
}

async function brokerKill(company: Company, random: Random): Promise<string | undefined> {
  await sleep(random.between(300, 900))
  const under = await open(company)
  const { pid } = company.broker
  company.note('fault', 'the broker is killed')
  await company.broker.kill()
  await sleep(random.between(0, 500))
  await company.broker.start()
  company.note('healed', 'the broker answers')
  await sleep(1_000)
  return company.broker.pid !== pid && under > 0 ? `another process, ${under} sagas were under way` : undefined
}

async function stopCoordinator(company: Company, random: Random): Promise<string | undefined> {
  await sleep(random.between(200, 500))
  const lingerer = await company.lingerer(company.of('coordinator'), DEAF_MS, true)
  const { member, key } = lingerer
  company.note('fault', `${member.name} is stopped before the commit of ${key}`)
  member.actor.stop()
  let refused = false
  const unwatch = member.actor.watch(({ op, text, key: id }) => {
    refused ||= op === 'log' && text === 'saga taken over by another coordinator' && key.includes(`/${id}/`)
  })
  const other = await doneByAnother(company, lingerer)
  await sleep(random.between(0, 300))
  member.actor.resume()
  company.note('healed', `${member.name} goes on`)
  for (let waited = 0; !refused && waited < 3_000; waited += 50) await sleep(50)
  unwatch()
  return other !== undefined && refused ? `${key} was done by ${other}, then ${member.name} was refused` : undefined
}

async function stopParticipants(company: Company, random: Random): Promise<string | undefined> {
  const stopped: Lingerer[] = []
  // Credit first: without debit nothing would come to it.
  for (const role of ['credit', 'debit'] as const) {
    await sleep(random.between(100, 400))
    const lingerer = await company.lingerer(company.of(role), DEAF_MS, true)
    company.note('fault', `${lingerer.member.name} is stopped before the commit of ${lingerer.key}`)
    lingerer.member.actor.stop()
    stopped.push(lingerer)
  }
  // Its command is sent again during this time, and waits for the row that it locks.
  await sleep(ASK_AGAIN_MS + random.between(200, 1_000))
  const asked = await Promise.all(stopped.map(({ key }) => askedAgain(company, key)))
  for (const { member } of stopped) member.actor.resume()
  company.note('healed', `${stopped.map(({ member }) => member.name).join(' and ')} go on`)
  await sleep(300)
  return asked.some((again) => again) ? `${stopped.map(({ key }) => key).join(' and ')} stood still` : undefined
}

/** Whether the command was sent again, or the saga was cancelled. */
async function askedAgain(company: Company, key: string): Promise<boolean> {
  const [, id, step] = key.split('/')
  const { rows } = await company.here.query(
    `SELECT 1 FROM concordat.saga_event
     WHERE id = $1 AND (step = $2 AND kind = 'timed-out' OR kind = 'operator-cancel')`,
    [id, step],
  )
  return rows.length > 0
}

/** Finds the worker that did the same; or finds that the saga was cancelled and ended without the effect. */
async function doneByAnother(company: Company, { key, operation, member }: Lingerer): Promise<string | undefined> {
  const deadline = performance.now() + LEASE_MS + 6_000
  while (performance.now() < deadline) {
    const { rows } = await company.here.query<{ worker: string }>(
      `SELECT worker FROM effect WHERE key = $1 AND operation = $2 AND worker <> $3
       UNION ALL SELECT 'nobody' FROM concordat.saga WHERE id = $4 AND ended_at IS NOT NULL`,
      [key, operation, member.name, key.split('/')[1]],
    )
    if (rows[0] !== undefined) return rows[0].worker
    await sleep(50)
  }
  return undefined
}

/** Longest time that the fault lasts while there is no evidence that it happened. */
const REPEATS_MS = 20_000

async function repeats(company: Company, random: Random): Promise<string | undefined> {
  let copies = 0
  let ignored = 0
  const unwatch = company.members.map(({ actor }) =>
    actor.watch(({ op, text }) => {
      if (op === 'repeated') copies++
      if (text === 'late or repeated reply ignored') ignored++
    }),
  )
  company.order({ do: 'repeat', chance: 0.6 })
  company.note('fault', 'messages leave twice')
  await sleep(random.between(2_000, 3_000))
  // On a busy machine the first replies to copies come late: the fault lasts until one is evidence that it happened.
  const deadline = performance.now() + REPEATS_MS
  while ((copies === 0 || ignored === 0) && performance.now() < deadline) await sleep(100)
  company.order({ do: 'repeat', chance: 0 })
  company.note('healed', 'messages leave once')
  await sleep(1_200)
  for (const stop of unwatch) stop()
  return copies > 0 && ignored > 0 ? `${copies} copies, ${ignored} replies ignored` : undefined
}

async function open(company: Company): Promise<number> {
  const { rows } = await company.here.query<{ n: number }>(
    'SELECT count(*)::int AS n FROM concordat.saga WHERE ended_at IS NULL',
  )
  return rows[0]?.n ?? 0
}

/** Long enough for a few pauses of the coordinator between its tries. */
const FAILS_FOR_MS = 4_000

async function failingParticipant(company: Company, random: Random): Promise<string | undefined> {
  await sleep(random.between(200, 500))
  let failures = 0
  const unwatch = company.members.map(({ actor }) =>
    actor.watch(({ op }) => {
      if (op === 'failed on purpose') failures++
    }),
  )
  const before = await completed(company)
  const accounts = `-${random.between(0, 9)}`
  company.order({ do: 'fail', accounts })
  company.note('fault', `commands for accounts that end in ${accounts} fail`)
  await sleep(FAILS_FOR_MS)
  const others = (await completed(company)) - before
  company.order({ do: 'fail', accounts: undefined })
  company.note('healed', 'no command fails any more')
  for (const stop of unwatch) stop()
  return failures > 0 && others > 0
    ? `${failures} calls failed, ${others} transfers were completed meanwhile`
    : undefined
}

/** After this time every saga has an owner by the new clock. */
const STEADY_AFTER_MS = 2 * LEASE_MS

/** @param offsetMs of the machine's clock, for a while */
async function clockSteps(company: Company, offsetMs: number): Promise<string | undefined> {
  const away = await clockStep(company, offsetMs)
  const again = await clockStep(company, 0)
  return away === undefined || again === undefined ? undefined : `${away}; ${again}`
}

/** @param offsetMs of the machine's clock, from now on */
async function clockStep(company: Company, offsetMs: number): Promise<string | undefined> {
  await sleep(1_000)
  const under = await open(company)
  const before = await serverTime(company)
  company.shiftClock(offsetMs)
  company.note('fault', `the clock of PostgreSQL is ${Math.round(offsetMs / SECOND)} s ahead from now on`)
  const stepped = (await serverTime(company)) - before
  await sleep(STEADY_AFTER_MS)
  const early = await completed(company)
  await sleep(1_500)
  const moved = (await completed(company)) - early
  company.note('healed', 'everybody has the new time')
  return under > 0 && Math.abs(stepped) > MINUTE && moved > 0
    ? `a step of ${Math.round(stepped / SECOND)} s with ${under} sagas under way, ${moved} were completed after it`
    : undefined
}

async function serverTime(company: Company): Promise<number> {
  const text = 'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now'
  return (await company.here.query<{ now: number }>(text)).rows[0]?.now ?? 0
}

async function completed(company: Company): Promise<number> {
  const text = `SELECT count(*)::int AS n FROM concordat.saga WHERE status = 'completed'`
  return (await company.here.query<{ n: number }>(text)).rows[0]?.n ?? 0
}

async function bornAt(company: Company): Promise<number> {
  const text = 'SELECT extract(epoch FROM pg_postmaster_start_time())::float8 AS at'
  return (await company.here.query<{ at: number }>(text)).rows[0]?.at ?? 0
}
