/** Participants in the process that coordinates: refusals, answers, and the outcome of a call without an answer. */
import { defineChannel, sink } from 'concordat/binder'
import { type SqlClient, systemClock } from 'concordat/core'
import { createOutbox } from 'concordat/outbox'
import { defineSaga, localTarget, migrateParticipant, participant, Refusal } from 'concordat/saga'
import { type Coordinator, createCoordinator } from 'concordat/saga/coordinator'
import { httpTarget } from 'concordat/saga/http'
import { type TccHandlers, tccParticipant } from 'concordat/saga/tcc'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { CoordinatorOptions, LocalTargetOptions } from '../../support/inside/saga.ts'
import { until } from '../../support/until.ts'
import { closeEmbedded, embedded, FAST, openEmbedded } from '../support/world.ts'

const commands = defineChannel('bank.commands', { payload: z.object({ account: z.string() }) })
const others = defineChannel('other.commands', { payload: z.object({ account: z.string() }) })
const input = z.object({ account: z.string() })
const request = ({ input: { account } }: { readonly input: { readonly account: string } }) => ({ account })
const handlers: TccHandlers<{ account: string }> = { try: () => {}, confirm: () => {}, cancel: () => {} }
const closing: Coordinator[] = []
let count = 0

beforeAll(openEmbedded, 120_000)
afterAll(closeEmbedded)
afterEach(async () => {
  for (const coordinator of closing.splice(0)) await coordinator.close()
})

describe('localTarget', () => {
  const bank = tccParticipant(commands, { group: 'bank' }, handlers)
  const sql = embedded()

  test.for<[string, object, RegExp]>([
    ['an unknown option', { sql, timeoutMs: 5 }, /timeoutMs/],
    ['no database', {}, /localTarget\("bank.commands"\)\.sql/],
    ['a database that is none', { sql: {} }, /localTarget\("bank.commands"\)\.sql/],
    ['no call at a time', { sql, concurrency: 0 }, /concurrency/],
    ['pauses that are none', { sql, retry: { initialMs: -1 } }, /retry/],
  ])('%s is refused by name', ([, options, says]) => {
    expect(() => localTarget(commands, bank, options as LocalTargetOptions)).toThrow(says)
  })

  test('a participant of another channel is refused, and other values are too', () => {
    expect(() => localTarget(others, bank, { sql })).toThrow(/declared on the channel "bank.commands"/)
    const plain = sink(commands, { group: 'bank' }, () => {})
    expect(() => localTarget(commands, plain, { sql })).toThrow(/participant: expected what tccParticipant/)
  })

  test('a step has the same graph as one by message or by HTTP: it may move while sagas are open', () => {
    const targets = [commands, localTarget(commands, bank, { sql }), httpTarget(commands, { url: 'http://bank' })]
    const graphs = targets.map(
      (to) =>
        defineSaga('pay', { version: 1, input })
          .tcc('move', { to, request })
          .command('note', { to, request, compensate: 'none' })
          .each('more', { to, over: () => [1], request, compensate: 'none' }).graphHash,
    )
    expect(new Set(graphs).size).toBe(1)
  })
})

describe('a call that is no longer awaited', () => {
  test('is not made again beside itself, and keeps its place among the calls', async () => {
    const { promise: late, reject: end } = Promise.withResolvers<never>()
    late.catch(() => {})
    let asked = 0
    const hanging: SqlClient = { ...embedded(), query: () => (asked++, late) }
    const bank = tccParticipant(commands, { group: 'bank' }, handlers)
    const target = localTarget(commands, bank, { sql: hanging, concurrency: 1 })
    const ask = (sagaId: string, withinMs: number) => {
      const key = `pay/${sagaId}/move`
      const command = {
        saga: 'pay',
        sagaId,
        step: 'move',
        operation: 'invoke',
        key,
        replyTo: 'front.saga-replies',
      } as const
      const known = { ...command, attempt: 1, birth: '', round: 0 }
      const message = {
        id: sagaId,
        destination: commands.name,
        key,
        type: commands.name,
        source: 'front',
        contentType: 'application/json',
        time: 0,
        headers: {},
        body: Buffer.from('{"account":"a"}'),
      }
      return target.asking.ask(
        { target: target as never, message, command: known },
        systemClock,
        AbortSignal.timeout(withinMs),
      )
    }
    expect(await ask('a', 50)).toMatchObject({ again: { code: 'TimeoutError' } })
    expect(await ask('a', 50)).toMatchObject({ again: { code: 'TimeoutError' } })
    expect(asked).toBe(1)
    expect(await ask('b', 5_000)).toMatchObject({ again: { code: 'saga.local_busy' } })
    let isSettled = false
    const settled = target.asking.settled?.().then(() => (isSettled = true))
    expect(isSettled).toBe(false)
    end(new Error('the connection ended'))
    await settled
    expect(await ask('b', 5_000)).toMatchObject({ again: { message: 'the connection ended' } })
  })
})

interface Setup {
  readonly handlers?: Partial<TccHandlers<{ account: string }>>
  readonly sql?: SqlClient
  readonly target?: Partial<LocalTargetOptions>
  readonly step?: object
  readonly coordinator?: Partial<CoordinatorOptions>
  readonly isMigrated?: boolean
  readonly sharesTransactions?: boolean
}

async function setup(options: Setup = {}) {
  const sql = embedded()
  const schema = `lt_${++count}`
  const bank = `${schema}_bank`
  const outbox = createOutbox({ sql, service: 'front', schema, partitions: 1 })
  await outbox.migrate()
  if (options.isMigrated !== false) await migrateParticipant(sql, bank)
  const calls: string[] = []
  const { sharesTransactions = false } = options
  const side = tccParticipant(
    commands,
    { group: 'bank', sharesTransactions, concurrency: 16 },
    {
      try: async (asked, context) => {
        calls.push(`try ${asked.account}`)
        return (await options.handlers?.try?.(asked, context)) ?? { held: asked.account }
      },
      confirm: async (asked, context) => {
        calls.push(`confirm ${asked.account}`)
        await options.handlers?.confirm?.(asked, context)
      },
      cancel: async (asked, context) => {
        calls.push(`cancel ${asked.account}`)
        await options.handlers?.cancel?.(asked, context)
      },
    },
  )
  const to = localTarget(commands, side, { sql: options.sql ?? sql, schema: bank, retry: FAST, ...options.target })
  const quick = { retry: FAST, compensationRetry: FAST, confirmRetry: FAST, ...options.step }
  const saga = defineSaga('pay', { version: 1, input })
    .tcc('move', { to, request, ...quick })
    .step('decide', { pivot: true, invoke: () => {} })
  const coordinator = createCoordinator({
    service: 'front',
    sql,
    outbox,
    schema,
    sagas: [saga],
    pollMs: 20,
    ...options.coordinator,
  })
  closing.push(coordinator)
  await coordinator.migrate()
  const outcomeOf = async (account: string) =>
    (await coordinator.start(saga, { id: account, input: { account } })).outcome({ timeoutMs: 30_000 })
  return { sql, schema, bank, calls, coordinator, outcomeOf }
}

describe('a participant in the process that coordinates', () => {
  test('is tried and confirmed, and no message is sent', async () => {
    const { coordinator, calls, outcomeOf, sql, schema } = await setup()
    await coordinator.run()
    const { status, ...outcome } = await outcomeOf('a')
    expect(status).toBe('completed')
    expect(outcome).toMatchObject({ results: { move: { held: 'a' } } })
    expect(calls).toEqual(['try a', 'confirm a'])
    const { rows } = await sql.query(`SELECT count(*)::int AS n FROM ${schema}.outbox`)
    expect(rows).toEqual([{ n: 0 }])
  })

  test('refuses, and nothing is cancelled', async () => {
    const no = (): never => {
      throw new Refusal('bank.no_funds', 'nothing there')
    }
    const { coordinator, calls, outcomeOf } = await setup({ handlers: { try: no } })
    await coordinator.run()
    expect(await outcomeOf('a')).toMatchObject({ status: 'compensated', failure: { code: 'bank.no_funds' } })
    expect(calls).toEqual(['try a'])
  })

  test('its tables are checked when the coordinator starts', async () => {
    const { coordinator, bank } = await setup({ isMigrated: false })
    await expect(coordinator.run()).rejects.toMatchObject({ code: 'core.tables_missing', schema: bank })
  })

  test('whose database is down is repeated until that is back, and the coordinator starts without it', async () => {
    const sql = embedded()
    let isAway = true
    const away = (): never => {
      throw Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED', retryable: true })
    }
    const wavering: SqlClient = {
      ...sql,
      query: async (text, parameters) => (isAway ? away() : sql.query(text, parameters)),
      transaction: async (work) => (isAway ? away() : sql.transaction(work)),
    }
    const { coordinator, calls, outcomeOf } = await setup({ sql: wavering })
    await coordinator.run()
    const outcome = outcomeOf('a')
    await until('the saga waits for its participant', async () => (await coordinator.list()).length === 1)
    expect(calls).toEqual([])
    isAway = false
    expect((await outcome).status).toBe('completed')
    expect(calls).toEqual(['try a', 'confirm a'])
  })

  test('a hanging participant is aborted and called again, and its late work is not done twice', async () => {
    const { promise: late, resolve: goOn } = Promise.withResolvers<void>()
    const stopped: string[] = []
    let tries = 0
    const { coordinator, outcomeOf, calls } = await setup({
      step: { timeoutMs: 200 },
      handlers: {
        try: async (_, { message }) => {
          if (++tries > 1) return
          message.signal.addEventListener('abort', () => stopped.push('stopped'))
          await late
        },
      },
    })
    await coordinator.run()
    const outcome = outcomeOf('a')
    await until('its signal aborts', () => stopped.length === 1)
    goOn()
    expect((await outcome).status).toBe('completed')
    expect(calls.filter((call) => call === 'confirm a')).toHaveLength(1)
  })

  test('a participant that failed after its time limit, and refuses then, is cancelled anyway', async () => {
    const sql = embedded()
    const schema = `lt_${++count}`
    const undone: string[] = []
    let tries = 0
    await migrateParticipant(sql, schema)
    const side = participant(
      commands,
      { group: 'bank' },
      {
        invoke: async (_, { message }) => {
          if (++tries > 1) throw new Refusal('bank.no_funds', 'nothing there')
          await until('its time is up', () => message.signal.aborted)
          throw new Error('it was sent, and no answer came')
        },
        compensate: ({ account }) => void undone.push(account),
      },
    )
    const saga = defineSaga('pay', { version: 1, input }).command('move', {
      to: localTarget(commands, side, { sql, schema, retry: FAST }),
      request,
      compensate: true,
      timeoutMs: 200,
      retry: FAST,
      compensationRetry: FAST,
    })
    const outbox = createOutbox({ sql, service: 'front', schema, partitions: 1 })
    const coordinator = createCoordinator({ service: 'front', sql, outbox, schema, sagas: [saga], pollMs: 20 })
    closing.push(coordinator)
    await outbox.migrate()
    await coordinator.migrate()
    await coordinator.run()
    const run = await coordinator.start(saga, { id: 'a', input: { account: 'a' } })
    expect(await run.outcome({ timeoutMs: 30_000 })).toMatchObject({ status: 'compensated' })
    expect(undone).toEqual(['a'])
  })

  test('a participant of another kind than the step’s reports that, and the saga turns back', async () => {
    const sql = embedded()
    const schema = `lt_${++count}`
    await migrateParticipant(sql, schema)
    const side = participant(commands, { group: 'bank' }, { invoke: () => {}, compensate: () => {} })
    const saga = defineSaga('pay', { version: 1, input }).tcc('move', {
      to: localTarget(commands, side, { sql, schema }),
      request,
    })
    const outbox = createOutbox({ sql, service: 'front', schema, partitions: 1 })
    const coordinator = createCoordinator({ service: 'front', sql, outbox, schema, sagas: [saga], pollMs: 20 })
    closing.push(coordinator)
    await outbox.migrate()
    await coordinator.migrate()
    await coordinator.run()
    const run = await coordinator.start(saga, { id: 'a', input: { account: 'a' } })
    expect(await run.outcome()).toMatchObject({ status: 'compensated', failure: { code: 'saga.wrong_participant' } })
  })

  test('shares transactions among commands that are ready together, if it was declared so', async () => {
    const ids = new Set<string>()
    const { coordinator, outcomeOf } = await setup({
      sharesTransactions: true,
      handlers: {
        try: async (_, { tx }) => {
          const { rows } = await tx.query<{ xid: string }>('SELECT pg_current_xact_id()::text AS xid')
          ids.add(rows[0]?.xid ?? '')
        },
      },
    })
    await coordinator.run()
    const accounts = Array.from({ length: 24 }, (_, n) => `a-${n}`)
    for (const { status } of await Promise.all(accounts.map(outcomeOf))) expect(status).toBe('completed')
    expect(ids.size).toBeLessThan(accounts.length)
  })
})
