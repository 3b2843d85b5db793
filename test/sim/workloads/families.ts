/** Sagas that are steps of sagas, and operators who purge, cancel, resolve and retry; steps that wait for what never comes. */

import type { SimulatedInstance, SimulatedWorld } from '@concordat/simulator'
import type { SqlClient, SqlExecutor } from 'concordat/core'
import { currentLease } from 'concordat/locks'
import { createOutbox } from 'concordat/outbox'
import { defineSaga } from 'concordat/saga'
import { type Coordinator, createCoordinator } from 'concordat/saga/coordinator'
import { z } from 'zod'
import { persist } from '../persist.ts'
import { override } from '../planted.ts'
import { databaseOf, type Setting, type Workload } from '../workload.ts'

const Trip = z.object({ breaks: z.boolean() })
const NOTE = { by: 'operator', reason: 'wanted so' }
const LEASE_MS = 2_000
const TRIED_ALWAYS = { maxAttempts: 1_000, initialMs: 50, maxMs: 500 }
/** More than there are faults in a history, and a few. */
const MOST_CALLS = 20
/** Longest silence: both desks may be frozen for thirty seconds. */
const LONGEST_SILENCE_MS = 60_000
const DEADLINE_MS = 1_000
const HUNDRED_MILLION_YEARS_MS = 1e8 * 365 * 86_400_000

class Known {
  /** While true, no booking can be undone. */
  isBroken = true
  /** Calls of a step that may use its attempts up. */
  payments = 0
  /** Attempts to begin a transaction for which the pool has no connection. */
  busy = 0
  /** Set while a schema hangs; resolves when it does no longer. */
  hanging: PromiseWithResolvers<boolean> | undefined
  readonly told = new Set<string>()
  readonly calls = new Map<string, number>()
  readonly leases = new Set<string>()
  /** Sagas whose signal was acknowledged and had no effect. */
  readonly unheard: string[] = []
}
let known = new Known()

async function leave(tx: SqlExecutor, key: string, operation: string): Promise<void> {
  await tx.query('INSERT INTO effect (key, operation) VALUES ($1, $2)', [key, operation])
}

const leaf = defineSaga('leaf', { version: 1, input: Trip }).step('book', {
  transactional: true,
  retry: TRIED_ALWAYS,
  invoke: ({ tx, key }) => leave(tx, key, 'invoke'),
  compensate: async ({ tx, key, input }) => {
    if (input.breaks && known.isBroken) throw Object.assign(new Error('it cannot be taken back'), { retryable: false })
    await leave(tx, key, 'compensate')
  },
  compensationRetry: TRIED_ALWAYS,
})
const mid = defineSaga('mid', { version: 1, input: Trip }).saga('leaf', {
  saga: leaf,
  input: ({ input }) => input,
  compensate: true,
})
const top = defineSaga('top', { version: 1, input: Trip })
  .saga('mid', { saga: mid, input: ({ input }) => input, compensate: true })
  .signal('go', { payload: z.object({}) })

const Any = z.object({})
const PAID_ATTEMPTS = 2
/** Saga that never refuses. A busy pool uses no attempt up; a broken connection does. */
const paid = defineSaga('paid', { version: 1, input: Any }).step('pay', {
  transactional: true,
  retry: { maxAttempts: PAID_ATTEMPTS, initialMs: 20, maxMs: 50 },
  invoke: ({ tx, key }) => {
    known.payments++
    return leave(tx, key, 'invoke')
  },
  compensate: ({ tx, key }) => leave(tx, key, 'compensate'),
})
/** Saga with a wait longer than a database can express. */
const endless = defineSaga('endless', { version: 1, input: Any })
  .step('first', {
    retry: TRIED_ALWAYS,
    invoke: ({ key }) => void known.calls.set(key, (known.calls.get(key) ?? 0) + 1),
    compensate: 'none',
  })
  .timer('use', { delay: () => HUNDRED_MILLION_YEARS_MS })
/** Is due more than once. */
const healthy = defineSaga('healthy', { version: 1, input: Any })
  .timer('soon', { delay: 300 })
  .timer('later', { delay: 300 })
/** Is started under a lock. */
const locked = defineSaga('locked', { version: 1, input: Any })
  .step('first', { retry: TRIED_ALWAYS, invoke: () => look(), compensate: 'none' })
  .step('second', { retry: TRIED_ALWAYS, invoke: () => look(), compensate: 'none' })
/** Saga that moves only by signals. */
const timed = defineSaga('timed', { version: 1, input: Any, deadlineMs: DEADLINE_MS }).signal('go', { payload: Any })

async function look(): Promise<void> {
  await new Promise((resolve) => void setTimeout(resolve, 300))
  const lease = currentLease()
  if (lease !== undefined) known.leases.add(lease.key)
}

/** Saga whose input schema does not answer for a while. */
const hangingWhile = (hangs: () => Promise<boolean> | undefined) => {
  const input = z.object({}).refine(() => hangs() ?? true)
  return defineSaga('hanging', { version: 1, input })
    .timer('soon', { delay: 200 })
    .timer('after', { delay: ({ input }) => Object.keys(input).length })
}
const hanging = hangingWhile(() => undefined)
const SAGAS = [top, mid, leaf, paid, endless, locked, healthy]

const coordinatorOn = (sql: SqlClient, more: Partial<Parameters<typeof createCoordinator>[0]>): Coordinator => {
  const outbox = createOutbox({ sql, service: 'desk', partitions: 1 })
  return createCoordinator({ service: 'desk', sql, outbox, sagas: [...SAGAS, hanging], ...more })
}

/** Client of a pool that is busy at times, and whose connection breaks after a saga was suspended. */
function troubled(sql: SqlClient): SqlClient {
  return override(sql, {
    transaction: (work) => {
      if (known.busy <= 0 || Math.random() < 0.3) return sql.transaction(work)
      known.busy--
      return Promise.reject(new Error('timeout exceeded when trying to connect'))
    },
    query: async (text, parameters) => {
      const answer = await sql.query(text, parameters)
      const isParked = text.includes('.saga_write(') && JSON.stringify(parameters).includes('\\"stuck\\"')
      if (isParked && Math.random() < 0.5) throw Object.assign(new Error('connection lost'), { code: '08006' })
      return answer as never
    },
  })
}

async function startDesk(instance: SimulatedInstance): Promise<void> {
  const { logger } = instance
  let isUp = false
  const desk = coordinatorOn(troubled(instance.sql('home')), {
    instance: `${instance.name}/${instance.generation}`,
    sagas: [...SAGAS, hangingWhile(() => (isUp ? known.hanging?.promise : undefined))],
    leaseMs: LEASE_MS,
    pollMs: 1_000,
    onStuck: ({ saga, id }) => void known.told.add(`${saga}/${id}`),
    logger,
  })
  await desk.run()
  isUp = true
  const start = () => desk.start(locked, { id: `${instance.name}/${instance.generation}`, input: {} })
  await instance
    .locks()
    .using('stock', { ttlMs: 2_000, waitMs: 1_000 }, start)
    .catch((error: Error) => instance.note(`not started under a lock: ${error.message}`))
}

class Office {
  readonly #world: SimulatedWorld
  readonly #sql: SqlClient
  readonly #desk: Coordinator

  constructor(world: SimulatedWorld) {
    this.#world = world
    this.#sql = world.client.sql('home')
    const { logger } = world.client
    this.#desk = coordinatorOn(this.#sql, { instance: 'office', sagas: [...SAGAS, hanging, timed], logger })
  }

  /** Runs a saga whose children finish, are purged where that is allowed, and are then undone. */
  async travel(id: string): Promise<void> {
    await this.#start(() => this.#desk.start(top, { id: id, input: { breaks: false } }))
    await this.#until('mid', `top/${id}/mid`, 'completed')
    await persist(this.#world, () => this.#desk.purge({ olderThanMs: 0 }))
    await this.#order('top', id, ['running'], (target) => this.#desk.cancel(target, NOTE))
  }

  /** Runs a saga that cannot be undone: one operator skips the step, another one retries once it works. */
  async breakDown(id: string): Promise<void> {
    await this.#start(() => this.#desk.start(top, { id: id, input: { breaks: true } }))
    await this.#until('mid', `top/${id}/mid`, 'completed')
    await this.#order('top', id, ['running'], (target) => this.#desk.cancel(target, NOTE))
    const child = `mid/top/${id}/mid/leaf`
    await this.#until('leaf', child, 'stuck')
    await this.#told(`leaf/${child}`)
    const resolved = { ...NOTE, outcome: 'completed' } as const
    await this.#order('leaf', child, ['stuck'], (target) => this.#desk.resolve(target, resolved))
    await this.#until('mid', `top/${id}/mid`, 'stuck')
    await this.#told(`mid/top/${id}/mid`)
    known.isBroken = false
    await this.#order('mid', `top/${id}/mid`, ['stuck'], (target) => this.#desk.retry(target, NOTE))
  }

  /** Runs a saga whose child's id is taken by another saga. */
  async takeId(id: string): Promise<void> {
    await this.#start(() => this.#desk.start(mid, { id: `top/${id}/mid`, input: { breaks: false } }))
    await this.#start(() => this.#desk.start(top, { id: id, input: { breaks: false } }))
  }

  async others(): Promise<void> {
    known.busy = 6
    await this.#start(() => this.#desk.start(paid, { id: 'paid', input: {} }))
    await this.#start(() => this.#desk.start(endless, { id: 'endless', input: {} }))
  }

  /** Runs a saga that hangs while others are due as well. */
  async hang(): Promise<void> {
    await this.#start(() => this.#desk.start(hanging, { id: 'hanging', input: {} }))
    known.hanging = Promise.withResolvers()
    for (let n = 1; n <= 3; n++) {
      await this.#start(() => this.#desk.start(healthy, { id: `healthy-${n}`, input: {} }))
      await this.#world.sleep(300)
    }
  }

  /** About when its time is over. */
  async signalLate(id: string): Promise<void> {
    await this.#start(() => this.#desk.start(timed, { id: id, input: {} }))
    await this.#world.sleep(DEADLINE_MS + this.#world.between(-50, 50))
    const isHeard = await this.#desk.signal(timed, id, 'go', {}).catch(() => false)
    const status = await this.status('timed', id)
    if (isHeard && status !== 'completed') known.unheard.push(`${id} is ${status}`)
  }

  async status(name: string, id: string): Promise<string | undefined> {
    const text = 'SELECT status FROM concordat.saga WHERE name = $1 AND id = $2'
    return (await persist(this.#world, () => this.#sql.query<{ status: string }>(text, [name, id]))).rows[0]?.status
  }

  async #start(start: () => Promise<unknown>): Promise<void> {
    await persist(this.#world, start)
  }

  async #until(name: string, id: string, wanted: string): Promise<void> {
    while ((await this.status(name, id)) !== wanted) await this.#world.sleep(300)
  }

  /** Waits for `onStuck` before the operator acts, but not for longer than a minute. */
  async #told(stuck: string): Promise<void> {
    const untilMs = this.#world.elapsedMs + LONGEST_SILENCE_MS
    while (!known.told.has(stuck) && this.#world.elapsedMs < untilMs) await this.#world.sleep(500)
  }

  /** Sends an order until the saga shows it: an answer may be lost. */
  async #order(
    saga: string,
    id: string,
    from: readonly string[],
    order: (target: { saga: string; id: string }) => Promise<void>,
  ): Promise<void> {
    while (from.includes((await this.status(saga, id)) ?? '')) {
      await order({ saga, id }).catch((error: Error) => this.#world.note(error.message))
      await this.#world.sleep(200)
    }
  }
}

async function work(world: SimulatedWorld): Promise<void> {
  known = new Known()
  const office = new Office(world)
  await office.others()
  await office.takeId('taken')
  for (let n = 1; n <= world.size; n++) {
    await office.travel(`trip-${n}`)
    await office.signalLate(`late-${n}`)
  }
  await office.breakDown('broken')
  await office.hang()
}

async function isSettled({ client }: SimulatedWorld): Promise<boolean> {
  const { rows } = await client
    .sql('home')
    .query<{ open: number }>(
      "SELECT count(*)::int AS open FROM concordat.saga WHERE ended_at IS NULL AND name NOT IN ('hanging', 'timed')",
    )
  return rows[0]?.open === 0
}

async function requireWholeEnds({ client }: SimulatedWorld): Promise<void> {
  const { rows } = await client
    .sql('home')
    .query<{ key: string }>(
      "SELECT key FROM effect WHERE key LIKE 'leaf/mid/top/%' AND key NOT LIKE '%taken%' GROUP BY key HAVING count(*) <> 2",
    )
  if (rows.length > 0) throw new Error(`not taken back: ${rows.map(({ key }) => key).join(', ')}`)
}

async function requirePaid({ client }: SimulatedWorld): Promise<void> {
  const { rows } = await client
    .sql('home')
    .query<{ operation: string }>("SELECT operation FROM effect WHERE key = 'paid/paid/pay'")
  const effects = rows.map(({ operation }) => operation).join(', ')
  const isTurnedBack = effects === '' && known.payments >= PAID_ATTEMPTS
  if (effects !== 'invoke' && !isTurnedBack)
    throw new Error(`called ${known.payments} times, nobody said no, and there is of it: ${effects || 'nothing'}`)
}

function requireTold(): void {
  for (const stuck of ['leaf/mid/top/broken/mid/leaf', 'mid/top/broken/mid'])
    if (!known.told.has(stuck)) throw new Error(`nobody was told that ${stuck} is stuck`)
}

function requireFewCalls(): void {
  for (const [key, calls] of known.calls) if (calls > MOST_CALLS) throw new Error(`${calls} calls of ${key}`)
}

function requireNoLeases(): void {
  if (known.leases.size > 0) throw new Error(`a step ran under the lock ${[...known.leases].join(', ')}`)
}

function requireHeard(): void {
  if (known.unheard.length > 0) throw new Error(`its signal was heard, and ${known.unheard.join(', ')}`)
}

/** Once its schema answers again. */
async function requireHangingEnds(world: SimulatedWorld): Promise<void> {
  known.hanging?.resolve(true)
  const untilMs = world.elapsedMs + 10 * LEASE_MS
  const office = new Office(world)
  while ((await office.status('hanging', 'hanging')) !== 'completed') {
    if (world.elapsedMs > untilMs) throw new Error('it does not end')
    await world.sleep(500)
  }
}

async function prepare(sql: SqlClient): Promise<void> {
  await createOutbox({ sql, service: 'desk', partitions: 1 }).migrate()
  await coordinatorOn(sql, {}).migrate()
  await sql.query('CREATE TABLE IF NOT EXISTS effect (n bigserial PRIMARY KEY, key text, operation text)')
}

export const families: Workload = {
  about:
    'sagas of three levels, purged, cancelled, resolved and tried again: whole or undone, each ends, the alarm is raised',
  mistakes: {},
  databases: ['home'],
  size: 1,
  options: (setting: Setting) => ({
    services: { desk: { start: startDesk } },
    databases: { home: { ...databaseOf(setting, 'home'), prepare } },
    workload: work,
    settled: isSettled,
    invariants: {
      'whole or undone': requireWholeEnds,
      'turned back by a no or by its attempts': requirePaid,
      'the alarm is raised': requireTold,
      'called a few times': requireFewCalls,
      'no lock of who started it': requireNoLeases,
      'what was heard counts': requireHeard,
      'what hung goes on': requireHangingEnds,
    },
  }),
}
