import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import type { SuiteOptions } from '../main.ts'
import { PostgresBed } from '../postgres-bed.ts'
import { number } from '../table.ts'
import { openOurs } from './ours.ts'
import { openPgmq } from './pgmq.ts'
import { payloads, type Side } from './sides.ts'

const CYCLE = 1_000
const CALM_MS = 5_000
const DISTURBED_MS = 10_000
const RETRY_MS = 20
const READERS = 4
/** A low limit, so that other clients can take every connection. */
const MAX_CONNECTIONS = 40

interface Target {
  readonly bed: PostgresBed
  readonly database: string
  readonly url: string
}

/** Continues until the signal aborts. */
type Disturbance = (target: Target, signal: AbortSignal) => Promise<void>

const DISTURBANCES: Readonly<Record<string, Disturbance>> = {
  'a restart of the server (SIGKILL)': async ({ bed }, signal) => {
    await sleep(DISTURBED_MS / 5, signal)
    if (!signal.aborted) await bed.restart()
  },
  'all sessions killed, once a second': async ({ bed, database }, signal) => {
    while (!signal.aborted) {
      await bed.terminate(database)
      await sleep(1_000, signal)
    }
  },
  'all free connections taken, half of the own ones killed': exhausted,
  'a session idle in its transaction': async ({ url }, signal) => {
    await using session = await openSession(url)
    await session.query('BEGIN; SELECT pg_current_xact_id()')
    await sleep(DISTURBED_MS * 2, signal)
  },
  [`${READERS} readers, each in long transactions`]: async ({ url }, signal) => {
    await Promise.all(Array.from({ length: READERS }, () => readOn(url, signal)))
  },
}

/** Measures how much of the rate of publishing and consuming is kept while PostgreSQL is disturbed. */
export async function measureChaos({ report, progress }: SuiteOptions): Promise<void> {
  await using bed = await PostgresBed.open({ max_connections: String(MAX_CONNECTIONS) })
  const kept: Kept[][] = []
  for (const [database, open] of [
    ['chaos_ours', openOurs],
    ['chaos_pgmq', openPgmq],
  ] as const) {
    const url = await bed.database(database)
    await using side = await open(url)
    await rateFor(side, CALM_MS)
    const own: Kept[] = []
    for (const [name, disturb] of Object.entries(DISTURBANCES)) {
      progress(`chaos, ${side.name}: ${name}`)
      own.push(await keptUnder(side, (signal) => disturb({ bed, database, url }, signal)))
    }
    kept.push(own)
  }
  const [ours = [], pgmq = []] = kept
  const cells = ({ calm, disturbed }: Kept): string[] => [
    number(calm),
    number(disturbed),
    (disturbed / calm).toFixed(2),
  ]
  report({
    title: `postgres: publish and consume ${CYCLE} at a time, disturbed for ${DISTURBED_MS / 1_000} s`,
    head: ['disturbed by', 'messages/s before', 'while', 'kept', 'pgmq before', 'while', 'kept'],
    rows: Object.keys(DISTURBANCES).map((name, at) => [name, ...cells(ours[at] as Kept), ...cells(pgmq[at] as Kept)]),
  })
}

/** Messages per second. */
interface Kept {
  readonly calm: number
  readonly disturbed: number
}

async function keptUnder(side: Side, disturb: (signal: AbortSignal) => Promise<void>): Promise<Kept> {
  const calm = await rateFor(side, CALM_MS)
  // A cycle that cannot end while it is disturbed ends afterwards, and counts until then.
  const [disturbed] = await Promise.all([rateFor(side, DISTURBED_MS), disturb(AbortSignal.timeout(DISTURBED_MS))])
  // Calls that were refused meanwhile are repeated in this time.
  await rateFor(side, CALM_MS / 5)
  return { calm, disturbed }
}

/** Publishes and consumes in cycles; a failed one is started again and does not count. @returns messages per second */
async function rateFor(side: Side, ms: number): Promise<number> {
  const list = payloads(CYCLE)
  const startedAt = performance.now()
  let done = 0
  while (performance.now() - startedAt < ms) {
    try {
      await side.publish(list)
      await side.consume(CYCLE)
      done += CYCLE
    } catch {
      await pause(RETRY_MS)
    }
  }
  return done / ((performance.now() - startedAt) / 1_000)
}

/** Other clients take each connection that becomes free. */
async function exhausted({ bed, database, url }: Target, signal: AbortSignal): Promise<void> {
  const strangers: pg.Client[] = []
  const take = async (): Promise<void> => {
    const stranger = new pg.Client({ connectionString: url, application_name: 'stranger' })
    stranger.on('error', () => {})
    await stranger.connect()
    strangers.push(stranger)
  }
  let isFull = false
  while (!signal.aborted) {
    try {
      await take()
    } catch {
      if (!isFull) await bed.terminate(database, { share: 0.5, except: 'stranger' })
      isFull = true
      await sleep(RETRY_MS, signal)
    }
  }
  await Promise.all(strangers.map((stranger) => stranger.end()))
}

/** Each transaction reads a table again and again, as a report does. */
async function readOn(url: string, signal: AbortSignal): Promise<void> {
  await using session = await openSession(url)
  while (!signal.aborted) {
    await session.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
    for (let n = 0; n < 20 && !signal.aborted; n++) {
      await session.query('SELECT count(*) FROM pg_class, generate_series(1, 100)')
      await sleep(100, signal)
    }
    await session.query('COMMIT')
  }
}

async function openSession(url: string): Promise<AsyncDisposable & Pick<pg.Client, 'query'>> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() })
}

async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  await pause(ms, undefined, { signal }).catch(() => {})
}
