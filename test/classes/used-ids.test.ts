/**
 * A step that was done before: while a participant remembers it, it is not done a second time for another saga of the
 * same service with that id. A coordinator whose database was restored has forgotten the first one. Purged steps are
 * not done again for a command of that time.
 */
import { createBinder, defineChannel, type Headers, type SinkBinding } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { createOutbox, createRelay } from 'concordat/outbox'
import {
  defineSaga,
  localTarget,
  migrateParticipant,
  participant,
  purgeParticipant,
  Refusal,
  SAGA_HEADERS,
  sagaReplies,
} from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { httpParticipants, httpTarget } from 'concordat/saga/http'
import { tccParticipant } from 'concordat/saga/tcc'
import { undo, undoParticipant } from 'concordat/saga/undo'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { commandHeaders, deliver, takeReplies } from '../saga/support/delivery.ts'
import { closeEmbedded, embedded, openEmbedded } from '../saga/support/world.ts'
import type { Operation } from '../support/inside/saga.ts'

const DAY_MS = 24 * 60 * 60 * 1_000
const Rent = z.object({ n: z.number() })
const commands = defineChannel('rent.commands', { payload: Rent })
const within = { timeoutMs: 20_000 }
const closing: Array<() => Promise<void>> = []
let runs = 0

beforeAll(openEmbedded, 120_000)
afterAll(closeEmbedded)
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

const KINDS = ['command', 'tcc', 'undo'] as const
const WAYS = ['message', 'localTarget', 'httpTarget'] as const
const EFFECTS = ['anywhere', 'tx'] as const
type Kind = (typeof KINDS)[number]
type Effects = (typeof EFFECTS)[number]

interface Made {
  readonly schema: string
  readonly effects: Effects
  readonly own: {
    readonly sql?: SqlClient
    readonly outbox?: ReturnType<typeof createOutbox>
    readonly schema?: string
  }
  readonly refuses?: () => boolean
  readonly shares?: boolean
}

/** A participant of this kind, whose effects are counted. */
async function sideOf(kind: Kind, { schema, effects, own, refuses, shares }: Made) {
  const sql = embedded()
  const table = `${schema}_done`
  await sql.query(`CREATE TABLE ${table} (id text PRIMARY KEY, n int NOT NULL)`)
  await migrateParticipant(sql, schema)
  const add = async (id: string, by: number, tx: Pick<SqlClient, 'query'>): Promise<void> => {
    if (refuses?.() === true) throw new Refusal('rent.no', 'nothing is free')
    const text = `INSERT INTO ${table} AS t VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET n = t.n + $2`
    await tx.query(text, [id, by])
  }
  const sharing = shares === true ? { sharesTransactions: true, concurrency: 4 } : {}
  const options = { group: 'rent', ...own, ...sharing }
  const count = async (id: string): Promise<number> =>
    (await sql.query<{ n: number }>(`SELECT n FROM ${table} WHERE id = $1`, [id])).rows[0]?.n ?? 0
  const made = {
    command: () =>
      participant(
        commands,
        { ...options, effects },
        {
          invoke: (_, { sagaId, tx }) => add(sagaId, 1, tx),
          compensate: (_, { sagaId, tx }) => add(sagaId, -1, tx),
        },
      ),
    tcc: () =>
      tccParticipant(
        commands,
        { ...options, effects },
        {
          try: (_, { sagaId, tx }) => add(sagaId, 1, tx),
          confirm: () => {},
          cancel: (_, { sagaId, tx }) => add(sagaId, -1, tx),
        },
      ),
    undo: () => undoParticipant(commands, options, (_, { sagaId, tx }) => add(sagaId, 1, tx)),
  }
  if (kind === 'undo') await undo.protect(sql, [table], { schema })
  return { side: made[kind](), count }
}

const schemaOf = (): string => `used_${Date.now().toString(36)}_${++runs}`

describe('a participant that is asked by a coordinator', () => {
  async function setup(kind: Kind, effects: Effects, way: (typeof WAYS)[number]) {
    const schema = schemaOf()
    const sql = embedded()
    const outbox = createOutbox({ sql, service: 'shop', schema })
    await outbox.migrate()
    const { side, count } = await sideOf(kind, {
      schema,
      effects,
      own: way === 'message' ? { sql, outbox, schema } : {},
    })
    const targets = {
      message: () => commands,
      localTarget: () => localTarget(commands, side, { sql, schema }),
      httpTarget: () => {
        const serve = httpParticipants([side], { sql, schema, authorize: 'none' })
        return httpTarget(commands, {
          url: 'http://rent.test',
          fetch: async (url, init) => serve(new Request(url, init)),
        })
      },
    }
    const to = targets[way]()
    const request = ({ input }: { input: { n: number } }) => input
    const base = defineSaga('rent', { version: 1, input: Rent })
    const saga =
      kind === 'command' ? base.command('rent', { to, request, compensate: true }) : base.tcc('rent', { to, request })
    const coordinator = createCoordinator({ service: 'shop', sql, outbox, schema, sagas: [saga], pollMs: 50 })
    await coordinator.migrate()
    const binder = createBinder({
      service: 'shop',
      transport: memoryTransport({ broker: memoryBroker() }),
      bindings: [...(way === 'message' ? [side] : []), ...coordinator.bindings],
      sends: [...coordinator.channels, sagaReplies('shop')],
    })
    const relay = createRelay({ outbox, publisher: binder, idlePollMs: 20 })
    await binder.start()
    await relay.start()
    await coordinator.run()
    closing.push(async () => {
      await relay.close()
      await binder.close()
      await coordinator.close()
    })
    return {
      count,
      start: async () => {
        const run = await coordinator.start(saga, { id: '1', input: { n: 1 } })
        const { status } = await run.outcome(within)
        return { status, error: (await run.report()).steps[0]?.error }
      },
      forgetSaga: () => coordinator.purge({ olderThanMs: 0 }),
      forgetSteps: async () => {
        await sql.query(`UPDATE ${schema}.saga_barrier SET created_at = created_at - interval '40 days'`)
        return purgeParticipant(sql, { olderThanMs: 30 * DAY_MS, schema })
      },
    }
  }

  const cases = KINDS.flatMap((kind) =>
    WAYS.flatMap((way) =>
      EFFECTS.filter((effects) => kind !== 'undo' || effects === 'tx').map((effects) => ({ kind, way, effects })),
    ),
  )

  test.each(cases)(
    'does the step of a $kind by $way with effects $effects once for an id, until it forgets it as well',
    async ({ kind, way, effects }) => {
      const { start, forgetSaga, forgetSteps, count } = await setup(kind, effects, way)
      expect(await start()).toMatchObject({ status: 'completed' })
      await forgetSaga()
      const again = await start()
      expect(again).toMatchObject({ status: 'compensated', error: { code: 'saga.done_before' } })
      expect(again.error?.message).toMatch(
        /^step "rent" of rent\/1 was done at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ by an earlier saga/,
      )
      expect(await count('1')).toBe(1)
      await forgetSaga()
      await forgetSteps()
      expect(await start()).toMatchObject({ status: 'completed' })
      expect(await count('1')).toBe(2)
    },
  )
})

describe('a participant', () => {
  async function setup(kind: Kind, effects: Effects = 'tx', more: Pick<Made, 'refuses' | 'shares'> = {}) {
    const schema = schemaOf()
    const sql = embedded()
    const outbox = createOutbox({ sql, service: 'rent', schema, partitions: 1 })
    await outbox.migrate()
    const { side, count } = await sideOf(kind, { schema, effects, own: { sql, outbox, schema }, ...more })
    const send = (id: string, birth: string, operation: Operation, headers: Headers = {}, time = 0): Promise<void> =>
      deliver(side as SinkBinding, { n: 1 }, { ...headersOf(kind, id, birth, operation), ...headers }, 3, time)
    const ask = async (...asked: Parameters<typeof send>): Promise<string> => {
      await send(...asked)
      const [reply] = await takeReplies(sql, schema)
      return [reply?.status, ...(reply?.code === undefined ? [] : [reply.code])].join(' ')
    }
    return { ask, send, count, sql, schema, replies: () => takeReplies(sql, schema) }
  }
  const headersOf = (kind: Kind, id: string, birth: string, operation: Operation): Headers => ({
    ...commandHeaders(id, operation),
    'saga-birth': birth,
    ...(kind !== 'command' && { 'saga-kind': 'tcc' }),
  })

  test.each(KINDS)('of the kind %s keeps one saga’s effects when another with its id turns back', async (kind) => {
    const { ask, count } = await setup(kind)
    expect(await ask('1', 'a', 'invoke')).toBe('ok')
    expect(await ask('1', 'b', 'invoke')).toBe('failed saga.done_before')
    expect(await ask('1', 'b', 'compensate')).toBe('ok')
    expect(await count('1')).toBe(1)
    expect(await ask('1', 'a', 'invoke')).toBe('ok')
    expect(await ask('1', 'a', 'compensate')).toBe('ok')
    expect(await count('1')).toBe(0)
  })

  test.each(KINDS)(
    'a participant of the kind %s repeats the step once no effect of the previous saga stands',
    async (kind) => {
      let refuses = false
      const { ask, count } = await setup(kind, 'tx', { refuses: () => refuses })
      expect(await ask('1', 'a', 'invoke')).toBe('ok')
      expect(await ask('1', 'a', 'compensate')).toBe('ok')
      refuses = true
      expect(await ask('1', 'b', 'invoke')).toBe('refused rent.no')
      refuses = false
      expect(await ask('1', 'c', 'compensate')).toBe('ok')
      expect(await ask('1', 'd', 'invoke')).toBe('ok')
      expect(await count('1')).toBe(1)
    },
  )

  test.each(EFFECTS)(
    'that did not get the first command does not run the step when it is repeated, with effects %s',
    async (effects) => {
      let refuses = true
      const { ask, count } = await setup('command', effects, { refuses: () => refuses })
      expect(await ask('1', 'a', 'invoke')).toBe('refused rent.no')
      refuses = false
      expect(await ask('1', 'b', 'invoke')).toBe('ok')
      expect(await ask('1', 'a', 'invoke', { 'saga-round': 1 })).toBe('failed saga.done_before')
      expect(await count('1')).toBe(1)
    },
  )

  test('with effects elsewhere does not run the step while a possible effect is not undone', async () => {
    const { ask, count, sql, schema } = await setup('command', 'anywhere')
    expect(await ask('1', 'a', 'invoke')).toBe('ok')
    for (const status of ['begun', 'failed', 'final']) {
      await sql.query(`UPDATE ${schema}.saga_barrier SET status = $1, outside = true`, [status])
      expect(await ask('1', 'b', 'invoke'), status).toBe('failed saga.done_before')
    }
    expect(await count('1')).toBe(1)
  })

  test.each(EFFECTS)('whose commands share transactions refuses one of them, with effects %s', async (effects) => {
    const { send, count, replies } = await setup('command', effects, { shares: true })
    for (const id of ['1', '2']) await send(id, 'a', 'invoke')
    await replies()
    await Promise.all(['1', '2', '3', '4'].map((id) => send(id, 'b', 'invoke')))
    const said = (await replies()).map(({ sagaId, status, code }) => `${sagaId} ${status} ${code ?? ''}`.trim())
    expect(said.toSorted()).toEqual(['1 failed saga.done_before', '2 failed saga.done_before', '3 ok', '4 ok'])
    expect(await Promise.all(['1', '2', '3', '4'].map(count))).toEqual([1, 1, 1, 1])
  })

  test('does it for a saga of another service that has the id, too', async () => {
    const { ask, send, count, replies } = await setup('command')
    expect(await ask('1', 'a', 'invoke')).toBe('ok')
    await send('1', 'b', 'invoke', { [SAGA_HEADERS.replyTo]: 'us.saga-replies' })
    expect((await replies()).map(({ status }) => status)).toEqual(['ok'])
    expect(await count('1')).toBe(2)
  })

  const aged = KINDS.flatMap((kind) => (kind === 'undo' ? [false] : [false, true]).map((shares) => ({ kind, shares })))

  test.each(aged)(
    'of the kind $kind (shares: $shares) does nothing for a command from before its purge',
    async ({ kind, shares }) => {
      const { ask, send, count, sql, schema } = await setup(kind, 'tx', { shares })
      const old = Date.now() - 40 * DAY_MS
      expect(await ask('1', 'a', 'invoke', {}, old)).toBe('ok')
      if (kind !== 'command') await send('1', 'a', 'confirm')
      await sql.query(`UPDATE ${schema}.saga_barrier SET created_at = created_at - interval '39 days'`)
      expect(await ask('2', 'a', 'invoke', {}, old)).toBe('ok')
      expect(await purgeParticipant(sql, { olderThanMs: 30 * DAY_MS, schema })).toBe(kind === 'command' ? 1 : 2)
      // A purge with an older bound takes nothing back.
      expect(await purgeParticipant(sql, { olderThanMs: 60 * DAY_MS, schema })).toBe(0)
      for (const id of ['1', '3']) expect(await ask(id, 'a', 'invoke', {}, old)).toBe('failed saga.command_too_old')
      expect(await ask('2', 'a', 'invoke', {}, old)).toBe('ok')
      expect(await ask('4', 'a', 'invoke', {}, Date.now() - 29 * DAY_MS)).toBe('ok')
      expect(await ask('5', 'a', 'invoke')).toBe('ok')
      expect(await Promise.all(['1', '2', '3', '4', '5'].map(count))).toEqual([1, 1, 0, 1, 1])
    },
  )

  const late = KINDS.flatMap((kind) => EFFECTS.map((effects) => ({ kind, effects, shares: false })))
    .filter(({ kind, effects }) => kind !== 'undo' || effects === 'tx')
    .flatMap((made) => (made.kind === 'command' ? [made, { ...made, shares: true }] : [made]))

  test.each(late)(
    'of the kind $kind with effects $effects (shares: $shares) keeps the record of a step that it refused long ago and has just done',
    async ({ kind, effects, shares }) => {
      let refuses = true
      const { send, count, sql, schema, replies } = await setup(kind, effects, { refuses: () => refuses, shares })
      const ids = shares ? ['1', '2', '3', '4'] : ['1']
      const sendAll = async (round: number) => {
        await Promise.all(ids.map((id) => send(id, 'a', 'invoke', { 'saga-round': round }, Date.now())))
        return new Set((await replies()).map(({ status }) => status))
      }
      expect(await sendAll(0)).toEqual(new Set(['refused']))
      await sql.query(`UPDATE ${schema}.saga_barrier SET created_at = created_at - interval '40 days'`)
      refuses = false
      // An operator retries the stuck sagas after 40 days.
      expect(await sendAll(1)).toEqual(new Set(['ok']))
      await purgeParticipant(sql, { olderThanMs: 30 * DAY_MS, schema })
      // The broker delivers the commands again.
      expect(await sendAll(1)).toEqual(new Set(['ok']))
      expect(await Promise.all(ids.map(count))).toEqual(ids.map(() => 1))
    },
  )

  test('keeps the record of a step that it did seconds after it had refused it, while the command of that may come again', async () => {
    let refuses = true
    const { send, count, sql, schema, replies } = await setup('command', 'tx', { refuses: () => refuses })
    const retriedAt = Date.now() - DAY_MS + 20_000
    await send('1', 'a', 'invoke', { 'saga-round': 0 }, retriedAt - 40_000)
    refuses = false
    await send('1', 'a', 'invoke', { 'saga-round': 1 }, retriedAt)
    await sql.query(`UPDATE ${schema}.saga_barrier SET created_at = to_timestamp($1::float8)`, [
      (retriedAt - 40_000) / 1_000,
    ])
    await purgeParticipant(sql, { olderThanMs: DAY_MS, schema })
    await send('1', 'a', 'invoke', { 'saga-round': 1 }, retriedAt)
    expect([await count('1'), (await replies()).map(({ status }) => status)]).toEqual([1, ['refused', 'ok', 'ok']])
  })

  test('is not purged of a step between the read of its row and the call', async () => {
    const { send, count, sql, schema, replies } = await setup('command', 'tx')
    const old = Date.now() - 40 * DAY_MS
    await send('1', 'a', 'invoke', {}, old)
    await sql.query(`UPDATE ${schema}.saga_barrier SET created_at = created_at - interval '40 days'`)
    await Promise.all([purgeParticipant(sql, { olderThanMs: 30 * DAY_MS, schema }), send('1', 'a', 'invoke', {}, old)])
    await replies()
    expect(await count('1')).toBe(1)
  })
})
