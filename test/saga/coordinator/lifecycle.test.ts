import { currentSaga, defineSaga, Refusal } from 'concordat/saga'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { SagaScope, StuckSaga } from '../../support/inside/saga.ts'
import { gate, until } from '../../support/until.ts'
import { runningWorlds, worlds } from '../support/running-world.ts'
import { FAST, stockCommands, type World } from '../support/world.ts'

const create = worlds()
const setup = runningWorlds(create)
const Input = z.object({ n: z.number() })
const input = { n: 1 }
const note = { by: 'ann', reason: 'called the bank' }

const simple = defineSaga('simple', { version: 1, input: Input }).step('a', {
  invoke: ({ input: { n } }) => n + 1,
  compensate: 'none',
})

describe('start', () => {
  test('is idempotent: many starts with one id give one saga', async () => {
    let calls = 0
    const saga = defineSaga('once', { version: 1, input: Input }).step('a', {
      invoke: () => ++calls,
      compensate: 'none',
    })
    const { coordinator } = await setup({ sagas: [saga] })
    const runs = await Promise.all(Array.from({ length: 20 }, () => coordinator.start(saga, { id: 'x', input })))
    for (const run of runs) expect((await run.outcome()).results).toEqual({ a: 1 })
    await coordinator.start(saga, { id: 'x', input })
    expect(calls).toBe(1)
  })

  test('refuses the same id with another input', async () => {
    const { coordinator } = await setup({ sagas: [simple] })
    await coordinator.start(simple, { id: 'x', input })
    await expect(coordinator.start(simple, { id: 'x', input: { n: 2 } })).rejects.toMatchObject({
      code: 'saga.conflict',
      message: 'saga simple/x was already started with another input: use another id, or read the first with get()',
    })
  })

  test('refuses an input that does not fit the schema', async () => {
    const { coordinator } = await setup({ sagas: [simple] })
    await expect(coordinator.start(simple, { id: 'x', input: { n: 'one' } as never })).rejects.toMatchObject({
      code: 'core.schema',
    })
  })

  test('within a transaction the saga exists if that commits', async () => {
    const { coordinator, sql } = await setup({ sagas: [simple] })
    const rollback = sql.transaction(async (tx) => {
      await coordinator.start(tx, simple, { id: 'no', input })
      throw new Error('changed my mind')
    })
    await expect(rollback).rejects.toThrow('changed my mind')
    const run = await sql.transaction((tx) => coordinator.start(tx, simple, { id: 'yes', input }))
    expect((await run.outcome({ timeoutMs: 5_000 })).status).toBe('completed')
    await expect(coordinator.get(simple, 'no').report()).rejects.toMatchObject({ code: 'saga.not_found' })
  })

  test('within a transaction whose commit is invisible is found by polling', async () => {
    const { coordinator, sql } = await setup({ sagas: [simple] })
    const run = await sql.transaction((tx) =>
      coordinator.start({ inTransaction: true, query: (text, values) => tx.query(text, values) }, simple, {
        id: 'x',
        input,
      }),
    )
    expect((await run.outcome({ timeoutMs: 5_000 })).status).toBe('completed')
  })

  test('outcome gives up waiting, the saga does not', async () => {
    const open = gate()
    const saga = defineSaga('slow', { version: 1, input: Input }).step('a', {
      invoke: () => open.opened,
      compensate: 'none',
    })
    const { coordinator } = await setup({ sagas: [saga] })
    const run = await coordinator.start(saga, { id: 'x', input })
    await expect(run.outcome({ timeoutMs: 20 })).rejects.toMatchObject({ code: 'saga.pending', retryable: true })
    open.open()
    expect((await run.outcome()).status).toBe('completed')
  })
})

describe('a running saga', () => {
  test('knows itself in every step, across awaits', async () => {
    const seen: Array<SagaScope | undefined> = []
    const saga = defineSaga('scope', { version: 1, input: Input }).step('a', {
      invoke: async () => {
        await new Promise((resolve) => setImmediate(resolve))
        seen.push(currentSaga())
      },
      compensate: 'none',
    })
    const { coordinator } = await setup({ sagas: [saga] })
    await (await coordinator.start(saga, { id: 'x', input })).outcome()
    expect(seen).toEqual([{ saga: 'scope', sagaId: 'x', step: 'a', operation: 'invoke', key: 'scope/x/a' }])
    expect(currentSaga()).toBeUndefined()
  })

  test('asks again for a reply that is late, and the effect happens once', async () => {
    let calls = 0
    const saga = defineSaga('late', { version: 1, input: Input }).command('reserve', {
      to: stockCommands,
      request: () => ({ sku: 'apple', n: 1 }),
      compensate: 'none',
      timeoutMs: 50,
      retry: { maxAttempts: 1_000 },
    })
    const { coordinator, events, stock } = await setup({
      sagas: [saga],
      handlers: { invoke: () => void calls++, compensate: () => {} },
    })
    stock().pause()
    const run = await coordinator.start(saga, { id: 'x', input })
    await until('it was asked again', async () => (await events('late', 'x')).includes('timed-out reserve'))
    stock().resume()
    expect((await run.outcome({ timeoutMs: 10_000 })).status).toBe('completed')
    expect(calls).toBe(1)
  })

  test('runs at most `concurrency` chains of local steps at once', { timeout: 120_000 }, async () => {
    let running = 0
    let most = 0
    let mostInHand = 0
    const saga = defineSaga('bound', { version: 1, input: Input }).step('a', {
      invoke: async () => {
        most = Math.max(most, ++running)
        mostInHand = Math.max(mostInHand, coordinator.health().inHand)
        await new Promise((resolve) => setImmediate(resolve))
        running--
      },
      compensate: 'none',
    })
    const { coordinator } = await setup({ sagas: [saga], coordinator: { concurrency: 3 } })
    const runs = await Promise.all(
      Array.from({ length: 200 }, (_, i) => coordinator.start(saga, { id: `x${i}`, input })),
    )
    for (const run of runs) expect((await run.outcome({ timeoutMs: 100_000 })).status).toBe('completed')
    expect(most).toBe(3)
    expect(mostInHand).toBeLessThanOrEqual(3 * 4)
  })

  test('a saga that was taken over cannot be written by its former owner, whose effect is rolled back', async () => {
    const [reached, open] = [gate(), gate()]
    let calls = 0
    const saga = defineSaga('stale', { version: 1, input: Input }).step('a', {
      transactional: true,
      invoke: async ({ tx }) => {
        await tx.query('INSERT INTO stale_effects VALUES ($1)', [++calls])
        if (calls > 1) return
        await tx.query("UPDATE stale_saga SET epoch = epoch + 1, revision = revision + 1, owner = 'thief'")
        reached.open()
        await open.opened
      },
      compensate: 'none',
    })
    const { coordinator, sql, schema, events } = await setup({ sagas: [saga], coordinator: { leaseMs: 100 } })
    await sql.query('CREATE TABLE stale_effects (n int)')
    await sql.query(`CREATE VIEW stale_saga AS SELECT * FROM ${schema}.saga`)
    const run = await coordinator.start(saga, { id: 'x', input })
    await reached.opened
    open.open()
    expect((await run.outcome({ timeoutMs: 10_000 })).status).toBe('completed')
    expect((await sql.query('SELECT n FROM stale_effects')).rows).toEqual([{ n: 2 }])
    expect(await events('stale', 'x')).toContain('orphaned a')
  })
})

describe('a lease', () => {
  test('is renewed while a step runs, for any time', async () => {
    const [reached, open] = [gate(), gate()]
    let calls = 0
    const saga = defineSaga('long', { version: 1, input: Input }).step('a', {
      invoke: async () => {
        calls++
        reached.open()
        await open.opened
      },
      compensate: 'none',
    })
    const { coordinator, sql, schema, events } = await setup({ sagas: [saga], coordinator: { leaseMs: 5_000 } })
    const run = await coordinator.start(saga, { id: 'x', input })
    await reached.opened
    const leaseEnd = async (): Promise<number> => {
      const { rows } = await sql.query<{ ms: number }>(
        `SELECT (extract(epoch FROM due_at) * 1000)::float8 AS ms FROM ${schema}.saga WHERE id = 'x'`,
      )
      return rows[0]?.ms ?? 0
    }
    const first = await leaseEnd()
    await until('the step outlived its first lease', () => Date.now() > first + 100)
    expect(await leaseEnd()).toBeGreaterThan(first)
    open.open()
    expect((await run.outcome({ timeoutMs: 10_000 })).status).toBe('completed')
    expect(await events('long', 'x')).not.toContain('orphaned a')
    expect(calls).toBe(1)
  })
})

describe('a stuck saga', () => {
  let broken = true
  const stuckSagas: StuckSaga[] = []
  const saga = defineSaga('stuck', { version: 1, input: Input })
    .step('pay', {
      invoke: () => 'paid',
      compensationRetry: { maxAttempts: 2, ...FAST },
      compensate: () => {
        if (broken) throw new Error('bank is closed')
      },
    })
    .step('ship', {
      invoke: () => {
        throw new Refusal('ship.no', 'no ship')
      },
      compensate: 'none',
    })
  const options = { sagas: [saga], coordinator: { onStuck: (stuck: StuckSaga) => void stuckSagas.push(stuck) } }

  async function stick(): Promise<World> {
    broken = true
    const started = await setup(options)
    const outcome = await (await started.coordinator.start(saga, { id: 'x', input })).outcome({ timeoutMs: 5_000 })
    expect(outcome).toMatchObject({ status: 'stuck', failure: { step: 'ship', code: 'ship.no' } })
    return started
  }

  test('is reported once, listed, and continues when an operator retries', async () => {
    stuckSagas.length = 0
    const { coordinator } = await stick()
    await until('it is reported', () => stuckSagas.length > 0)
    expect(stuckSagas).toEqual([
      { saga: 'stuck', id: 'x', failure: { step: 'pay', code: 'Error', message: 'bank is closed' } },
    ])
    expect(await coordinator.list({ status: 'stuck' })).toMatchObject([{ name: 'stuck', id: 'x', version: 1 }])
    broken = false
    const run = coordinator.get(saga, 'x')
    await coordinator.retry(run, note)
    await until('it ended', async () => (await run.report()).status === 'compensated')
    const { timeline } = await run.report()
    expect(timeline).toContainEqual(expect.objectContaining({ kind: 'operator-retry', step: 'pay', detail: note }))
    expect(await coordinator.list({ status: 'stuck' })).toEqual([])
  })

  test('a stuck saga that gets a meaningless reply goes back to waiting for an operator', async () => {
    const { coordinator, sql, schema } = await stick()
    const reply = { saga: 'stuck', sagaId: 'x', step: 'ship', operation: 'invoke', status: 'failed' }
    await sql.query(`UPDATE ${schema}.saga SET mail = $1::jsonb, due_at = now(), revision = revision + 1`, [
      JSON.stringify([reply]),
    ])
    await until('it rests', async () => {
      const { rows } = await sql.query(`SELECT 1 FROM ${schema}.saga WHERE mail IS NULL AND due_at IS NULL`)
      return rows.length === 1
    })
    expect((await coordinator.get(saga, 'x').report()).status).toBe('stuck')
  })

  test('can be skipped and resolved, with who and why in the timeline', async () => {
    const { coordinator } = await stick()
    const [stuck] = await coordinator.list({ status: 'stuck', saga: 'stuck' })
    await coordinator.skip(stuck as NonNullable<typeof stuck>, note)
    expect(await coordinator.get(saga, 'x').report()).toMatchObject({
      status: 'compensated',
      steps: [{ status: 'skipped' }, { status: 'refused' }],
    })
    await expect(
      coordinator.resolve({ saga: 'stuck', id: 'x' }, { ...note, outcome: 'completed' }),
    ).rejects.toMatchObject({ code: 'saga.action_refused' })
    await expect(coordinator.retry({ saga: 'stuck', id: 'y' }, note)).rejects.toMatchObject({ code: 'saga.not_found' })
  })
})

describe('versions', () => {
  const v2 = defineSaga('simple', { version: 2, input: Input }).step('b', { invoke: () => 2, compensate: 'none' })

  test('a changed graph under an old version is refused', async () => {
    const { another } = await setup({ sagas: [simple] })
    const changed = defineSaga('simple', { version: 1, input: Input }).step('z', {
      invoke: () => 1,
      compensate: 'none',
    })
    const other = another({ sagas: [changed] })
    await expect(other.run()).rejects.toMatchObject({ code: 'saga.graph_changed', saga: 'simple', version: 1 })
    await expect(other.start(changed, { id: 'x', input })).rejects.toMatchObject({ code: 'saga.graph_changed' })
  })

  test('two versions of one saga run side by side', async () => {
    const { coordinator } = await setup({ sagas: [simple, v2] })
    const [one, two] = [
      await coordinator.start(simple, { id: 'one', input }),
      await coordinator.start(v2, { id: 'two', input }),
    ]
    expect((await one.outcome()).results).toEqual({ a: 2 })
    expect((await two.outcome()).results).toEqual({ b: 2 })
  })

  test('a saga whose version is not loaded is reported, not touched, and its reply is kept for an instance that has it', async () => {
    const saga = defineSaga('old', { version: 1, input: Input }).command('reserve', {
      to: stockCommands,
      request: () => ({ sku: 'apple', n: 1 }),
      compensate: 'none',
    })
    const setupV1 = await create({ sagas: [simple], handlers: { invoke: () => 'reserved', compensate: () => {} } })
    const other = setupV1.another({ sagas: [saga] })
    const run = await other.start(saga, { id: 'x', input })
    await setupV1.start() // knows `simple` only, and gets the reply
    await until('the reply was kept', async () => {
      const { rows } = await setupV1.sql.query(`SELECT 1 FROM ${setupV1.schema}.saga WHERE mail IS NOT NULL`)
      return rows.length === 1
    })
    await until('sagas are counted', () => setupV1.coordinator.health().unloaded !== undefined)
    expect(setupV1.coordinator.health()).toMatchObject({
      status: 'up',
      unloaded: [{ saga: 'old', version: 1, count: 1 }],
    })
    expect((await run.report()).status).toBe('running')
    await other.run()
    expect(await run.outcome({ timeoutMs: 5_000 })).toMatchObject({
      status: 'completed',
      results: { reserve: 'reserved' },
    })
    await other.close()
  })
})

describe('close', () => {
  test('lets the running step finish and leaves the next one to another instance', async () => {
    const [reached, open] = [gate(), gate()]
    const steps: string[] = []
    const saga = defineSaga('handover', { version: 1, input: Input })
      .step('a', {
        invoke: async () => {
          steps.push('a')
          reached.open()
          await open.opened
        },
        compensate: 'none',
      })
      .step('b', { invoke: () => void steps.push('b'), compensate: 'none' })
    const { coordinator, another } = await setup({ sagas: [saga], coordinator: { leaseMs: 60_000 } })
    await coordinator.start(saga, { id: 'x', input })
    await reached.opened
    const closed = coordinator.close()
    open.open()
    await closed
    expect(steps).toEqual(['a'])
    const next = another()
    await next.run()
    expect((await next.get(saga, 'x').outcome({ timeoutMs: 5_000 })).status).toBe('completed')
    expect(steps).toEqual(['a', 'b'])
    await next.close()
  })

  test('gives a step that does not finish to another instance at once, long before its lease ends', async () => {
    const reached = gate()
    let calls = 0
    const saga = defineSaga('hang', { version: 1, input: Input }).step('a', {
      invoke: () => {
        if (++calls > 1) return
        reached.open()
        return new Promise<void>(() => {})
      },
      compensate: 'none',
    })
    const { coordinator, another } = await setup({
      sagas: [saga],
      coordinator: { leaseMs: 60_000, drainTimeoutMs: 20 },
    })
    const run = await coordinator.start(saga, { id: 'x', input })
    const waiting = run.outcome()
    const refused = expect(waiting).rejects.toMatchObject({ code: 'saga.closed' })
    await reached.opened
    await coordinator.close()
    await refused
    const next = another()
    await next.run()
    expect((await next.get(saga, 'x').outcome({ timeoutMs: 5_000 })).status).toBe('completed')
    await expect(coordinator.start(saga, { id: 'y', input })).rejects.toMatchObject({ code: 'saga.closed' })
    await next.close()
  })
})
