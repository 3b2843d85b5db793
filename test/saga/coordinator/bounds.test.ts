import type { SinkBinding } from 'concordat/binder'
import type { SqlClient, StandardSchemaV1 } from 'concordat/core'
import { defineSaga } from 'concordat/saga'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { gate, until } from '../../support/until.ts'
import { deliver } from '../support/delivery.ts'
import { runningWorlds, worlds } from '../support/running-world.ts'
import { embedded, stockCommands, type World } from '../support/world.ts'

const create = worlds()
const setup = runningWorlds(create)
const Input = z.object({ sku: z.string(), n: z.number() })
const input = { sku: 'apple', n: 2 }
type Schema = StandardSchemaV1<z.input<typeof Input>, z.output<typeof Input>>

/** A saga that reads its input for two calls at once. */
const grouped = (schema: Schema) =>
  defineSaga('grouped', { version: 1, input: schema })
    .signal('go', { payload: z.string() })
    .parallel((group) =>
      group
        .step('here', { compensate: 'none', invoke: () => undefined })
        .command('there', { to: stockCommands, request: ({ input: read }) => read, compensate: 'none' }),
    )
/** More sagas than a process claims that makes one call at a time. */
const MANY = ['s1', 's2', 's3', 's4', 's5', 's6']

const readable = defineSaga('readable', { version: 1, input: Input }).step('a', {
  compensate: 'none',
  invoke: () => undefined,
})

describe('an input that the schema of a new release refuses', () => {
  const Wider = z.object({ sku: z.string(), n: z.number(), currency: z.string() })
  const old = defineSaga('priced', { version: 1, input: Input })
    .signal('go', { payload: z.string() })
    .step('charge', { compensate: 'none', invoke: () => 'charged' })
  const asNew = (upcast?: (stored: { sku: string; n: number }) => z.infer<typeof Wider>) =>
    defineSaga('priced', { version: 1, input: Wider, ...(upcast && { upcast }) })
      .signal('go', { payload: z.string() })
      .step('charge', { compensate: 'none', invoke: ({ input: { currency } }) => `charged ${currency}` })

  test('makes run() refuse before anything is touched, with how many sagas and which', async () => {
    const world = await setup({ sagas: [old] })
    const run = await world.coordinator.start(old, { id: 's1', input })
    await world.coordinator.start(old, { id: 's2', input })
    const release = world.another({ sagas: [asNew()] })
    const refused = release.run()
    await expect(refused).rejects.toMatchObject({ code: 'saga.input_unreadable' })
    await expect(refused).rejects.toMatchObject({
      code: 'saga.input_unreadable',
      sagas: [{ saga: 'priced', version: 1, count: 2, ids: ['s1', 's2'] }],
      message: expect.stringContaining('upcast'),
    })
    await release.close()
    await world.coordinator.signal(old, 's1', 'go', 'now')
    expect(await run.outcome({ timeoutMs: 5_000 })).toMatchObject({
      status: 'completed',
      results: { charge: 'charged' },
    })
  })

  test('is brought up to date by upcast', async () => {
    const world = await setup({ sagas: [old] })
    await world.coordinator.start(old, { id: 's1', input })
    await world.coordinator.close()
    const saga = asNew((stored) => ({ currency: 'EUR', ...stored }))
    const release = world.another({ sagas: [saga] })
    await release.run()
    await release.signal(saga, 's1', 'go', 'now')
    expect(await release.get(saga, 's1').outcome({ timeoutMs: 5_000 })).toMatchObject({
      status: 'completed',
      results: { charge: 'charged EUR' },
    })
    await release.close()
  })

  test('is counted once for each saga that has it, however many are open', async () => {
    const { coordinator, sql, schema, another } = await setup({ sagas: [old] })
    await coordinator.start(old, { id: 's1', input })
    await sql.query(
      `INSERT INTO ${schema}.saga
       SELECT (jsonb_populate_record(s, jsonb_build_object('id', 's' || n))).* FROM ${schema}.saga s, generate_series(2, 501) n`,
    )
    const ids = ['s1', 's10', 's100', 's101', 's102']
    await expect(another({ sagas: [asNew()] }).run()).rejects.toMatchObject({ sagas: [{ count: 501, ids }] })
  })

  test('is left to the release that can read it, when it was started beside the new one', async () => {
    const world = await setup({ sagas: [old], coordinator: { leaseMs: 300 } })
    const release = world.another({ sagas: [asNew()] })
    await release.run()
    const run = await world.coordinator.start(old, { id: 's1', input })
    await release.signal(asNew(), 's1', 'go', 'now').catch(() => undefined)
    await world.coordinator.signal(old, 's1', 'go', 'now')
    expect(await run.outcome({ timeoutMs: 10_000 })).toMatchObject({
      status: 'completed',
      results: { charge: 'charged' },
    })
    await release.close()
  })

  test('takes no slot from other sagas, in any number', async () => {
    const [written, read] = [grouped(Input), grouped(Wider)]
    const world = await setup({ sagas: [read, readable], coordinator: { concurrency: 1 } })
    const former = world.another({ sagas: [written] })
    for (const id of MANY) {
      await former.start(written, { id, input })
      await expect(world.coordinator.signal(read, id, 'go', 'now')).rejects.toMatchObject({
        code: 'saga.input_unreadable',
      })
    }
    const run = await world.coordinator.start(readable, { id: 'r', input })
    expect((await run.outcome({ timeoutMs: 10_000 })).status).toBe('completed')
    await former.close()
  })
})

describe('a schema that never settles', () => {
  /** The schema of `input`, which does not answer while `isHanging`. */
  function hanging() {
    const own = Input['~standard']
    const validate: Schema['~standard']['validate'] = (value) => {
      if (!silent.isHanging) return own.validate(value)
      silent.asked++
      return new Promise<never>(() => {})
    }
    const schema: Schema = { '~standard': { ...own, validate } }
    const silent = { schema, isHanging: false, asked: 0 }
    return silent
  }

  test('holds up its own saga only', async () => {
    const hangs = {
      '~standard': {
        version: 1 as const,
        vendor: 'test',
        validate: () => (isHanging ? new Promise<never>(() => {}) : { value: {} }),
      },
    }
    let isHanging = false
    const bad = defineSaga('bad', { version: 1, input: hangs })
      .timer('wait', { delay: 200 })
      .step('after', { compensate: 'none', invoke: () => 1 })
      .command('never', { to: stockCommands, request: () => input, compensate: 'none' })
    const good = defineSaga('good', { version: 1, input: Input })
      .timer('wait', { delay: 400 })
      .step('after', { compensate: 'none', invoke: () => 1 })
    const world = await setup({ sagas: [bad, good], coordinator: { leaseMs: 300, drainTimeoutMs: 100 } })
    await world.coordinator.start(bad, { id: 'b', input: {} })
    const run = await world.coordinator.start(good, { id: 'g', input })
    isHanging = true
    expect(await run.outcome({ timeoutMs: 10_000 })).toMatchObject({ status: 'completed' })
  })

  test('fails a message for its saga after a lease, so that later messages are read', async () => {
    const silent = hanging()
    const saga = defineSaga('silent', { version: 1, input: silent.schema })
      .signal('told', { from: stockCommands, correlate: ({ sku }) => sku })
      .timer('after', { delay: () => 1 })
    const world = await setup({ sagas: [saga], coordinator: { leaseMs: 300, drainTimeoutMs: 100 } })
    const { coordinator } = world
    await coordinator.start(saga, { id: 'apple', input })
    silent.isHanging = true
    const signals = coordinator.bindings[1] as SinkBinding
    await expect(deliver(signals, input, {}, 1)).rejects.toThrow(
      'the signal "told" for silent/apple was not applied within 300 ms',
    )
  })

  test('keeps no process from running that starts while its sagas are open', async () => {
    const silent = hanging()
    const bad = defineSaga('bad', { version: 1, input: silent.schema }).signal('go', { payload: z.string() })
    const good = defineSaga('good', { version: 1, input: Input })
      .timer('wait', { delay: 100 })
      .step('after', { compensate: 'none', invoke: () => 1 })
    const world = await setup({ sagas: [bad, good], coordinator: { leaseMs: 300, drainTimeoutMs: 100 } })
    for (const id of ['b', 'c', 'd']) await world.coordinator.start(bad, { id, input })
    await world.coordinator.start(good, { id: 'g', input })
    await world.coordinator.close()
    silent.isHanging = true
    const next = world.another()
    await next.run()
    expect(await next.get(good, 'g').outcome({ timeoutMs: 10_000 })).toMatchObject({ status: 'completed' })
    // The first call has shown that it hangs: the coordinator does not wait for the others too.
    expect(silent.asked).toBe(1)
    await next.close()
  })

  test('keeps no process from running that sends unanswered commands again', async () => {
    const silent = hanging()
    const saga = defineSaga('silent', { version: 1, input: silent.schema }).command('ask', {
      to: stockCommands,
      request: () => input,
      compensate: 'none',
    })
    const world = await create({ sagas: [saga], coordinator: { leaseMs: 300, drainTimeoutMs: 100 } })
    // No binder runs: nothing is answered.
    await world.coordinator.run()
    await world.coordinator.start(saga, { id: 's', input })
    await world.coordinator.close()
    silent.isHanging = true
    const next = world.another()
    await next.run({ resend: true })
    expect(next.health()).toMatchObject({ status: 'up' })
    await next.close()
  })

  test('ends with the time limit of the step that it is read for, and keeps no other saga waiting', async () => {
    let asked = 0
    const atStartOnly = Input.refine(() => (++asked > 1 ? new Promise<boolean>(() => {}) : true))
    const bad = defineSaga('bad', { version: 1, input: atStartOnly }).step('a', {
      compensate: 'none',
      timeoutMs: 50,
      retry: { maxAttempts: 1 },
      invoke: () => 1,
    })
    const good = defineSaga('good', { version: 1, input: Input }).step('a', { compensate: 'none', invoke: () => 1 })
    const world = await setup({ sagas: [bad, good], coordinator: { concurrency: 1, drainTimeoutMs: 0 } })
    const refused = await world.coordinator.start(bad, { id: 'b', input })
    await until('its input is read for the step', () => asked > 1)
    const run = await world.coordinator.start(good, { id: 'g', input })
    expect((await run.outcome({ timeoutMs: 10_000 })).status).toBe('completed')
    expect(await refused.outcome({ timeoutMs: 10_000 })).toMatchObject({
      status: 'compensated',
      failure: { code: 'saga.step_timeout' },
    })
  })

  test('takes no slot permanently from other sagas, when a local step was about to begin', async () => {
    const silent = hanging()
    silent.isHanging = true
    const [written, read] = [grouped(Input), grouped(silent.schema)]
    const world = await setup({ sagas: [read, readable], coordinator: { concurrency: 1, leaseMs: 300 } })
    const former = world.another({ sagas: [written] })
    for (const id of MANY) {
      await former.start(written, { id, input })
      void world.coordinator.signal(read, id, 'go', 'now').catch(() => {})
    }
    await until('as many as there is room for are asked for', () => silent.asked >= 4)
    const run = await world.coordinator.start(readable, { id: 'r', input })
    expect((await run.outcome({ timeoutMs: 10_000 })).status).toBe('completed')
    await former.close()
  })
})

describe('reports of a coordinator', () => {
  test('signal() returns false when the end of the saga came before it', async () => {
    const saga = defineSaga('late', { version: 1, input: Input, deadlineMs: 100 })
      .signal('go', { payload: z.string() })
      .step('after', { compensate: 'none', invoke: () => 1 })
    // No poll looks for due sagas: the signal itself finds that the time is over.
    const world = await create({ sagas: [saga], coordinator: { pollMs: 60_000 } })
    const { coordinator } = world
    const run = await coordinator.start(saga, { id: 's1', input })
    await new Promise((resolve) => setTimeout(resolve, 150))
    expect(await coordinator.signal(saga, 's1', 'go', 'now')).toBe(false)
    expect(await run.report()).toMatchObject({ status: 'compensated' })
  })

  test('a coordinator whose bindings are in no binder is down, with the remedy', async () => {
    const saga = defineSaga('deaf', { version: 1, input: Input }).command('ask', {
      to: stockCommands,
      request: () => input,
      compensate: 'none',
    })
    let now = 0
    const { systemClock } = await import('concordat/core')
    const clock = { ...systemClock, monotonic: () => systemClock.monotonic() + now }
    const world = await create({ sagas: [saga] })
    const alone = world.another({ clock })
    await alone.run()
    expect(alone.health()).toMatchObject({ status: 'up' })
    now = 11_000
    // A statement that began before the jump seems to wait for it.
    await until('no look is under way', () => alone.health().error?.startsWith('no answer') !== true)
    expect(alone.health()).toMatchObject({ status: 'down', error: expect.stringContaining('...coordinator.bindings') })
    await alone.close()
  })
})

describe('operators', () => {
  const saga = defineSaga('stuck', { version: 1, input: Input })
    .step('pivot', { pivot: true, invoke: () => 1 })
    .command('ship', { to: stockCommands, request: () => input, reply: z.object({ parcel: z.string() }) })

  async function stuck(): Promise<World> {
    const { Refusal } = await import('concordat/saga')
    const made = await setup({
      sagas: [saga],
      coordinator: { maxPayloadBytes: 2_000 },
      handlers: {
        invoke: () => {
          throw new Refusal('no', 'no')
        },
        compensate: () => {},
      },
    })
    const run = await made.coordinator.start(saga, { id: 's1', input })
    await until('it is stuck', async () => (await run.report()).status === 'stuck')
    return made
  }

  test('give a name and a reason in storable text, and a result that a reply could have', async () => {
    const world = await stuck()
    const { coordinator } = world
    const target = { saga: 'stuck', id: 's1' }
    const note = { by: 'ann', reason: 'done by hand' }
    await expect(coordinator.retry(target, { by: 'a\0b', reason: 'x' })).rejects.toThrow(
      /retry\.by: expected text without NUL/,
    )
    await expect(coordinator.retry(target, { by: 'ann', reason: '\ud800' })).rejects.toThrow(/retry\.reason/)
    await expect(coordinator.retry(target, { by: 'ann', reason: 'x'.repeat(20_000) })).rejects.toThrow(RangeError)
    await expect(coordinator.skip(target, { ...note, result: 1n })).rejects.toMatchObject({ code: 'core.codec' })
    await expect(coordinator.skip(target, { ...note, result: { parcel: 'x'.repeat(3_000) } })).rejects.toMatchObject({
      code: 'saga.payload_too_large',
    })
    await expect(coordinator.skip(target, { ...note, result: { parcel: 7 } })).rejects.toMatchObject({
      code: 'core.schema',
    })
    await coordinator.skip(target, { ...note, result: { parcel: 'p-1' } })
    expect(await coordinator.get(saga, 's1').outcome({ timeoutMs: 5_000 })).toMatchObject({
      status: 'completed',
      results: { ship: { parcel: 'p-1' } },
    })
  })
})

test('a saga whose correlate throws does not keep a message from the others', async () => {
  const heard = gate()
  const throwing = defineSaga('a-throwing', { version: 1, input: Input })
    .signal('told', {
      from: stockCommands,
      correlate: () => {
        throw new Error('no')
      },
    })
    .step('after', { compensate: 'none', invoke: () => 1 })
  const other = defineSaga('b-other', { version: 1, input: Input })
    .signal('told', { from: stockCommands, correlate: ({ sku }) => sku })
    .step('after', { compensate: 'none', invoke: () => heard.open() })
  const world = await setup({ sagas: [throwing, other] })
  await world.coordinator.start(other, { id: 'apple', input })
  await world.binder.send(stockCommands, input)
  await heard.opened
})

test('a version whose correlate throws does not keep a message from another version of the same saga', async () => {
  const old = defineSaga('told', { version: 1, input: Input }).signal('before', {
    from: stockCommands,
    correlate: () => {
      throw new Error('no')
    },
  })
  const saga = defineSaga('told', { version: 2, input: Input })
    .signal('now', { from: stockCommands, correlate: ({ sku }) => sku })
    .step('after', { compensate: 'none', invoke: () => 1 })
  const { coordinator, binder } = await setup({ sagas: [old, saga] })
  const run = await coordinator.start(saga, { id: 'apple', input })
  await binder.send(stockCommands, input)
  expect(await run.outcome({ timeoutMs: 10_000 })).toMatchObject({ status: 'completed' })
})

test.each(['dead-letter', 'retry'] as const)(
  'a step with missing: %s whose saga does not exist does not keep a message from a later step of the same saga',
  async (missing) => {
    const saga = defineSaga('twice', { version: 1, input: Input })
      .parallel((group) =>
        group
          .signal('first', { from: stockCommands, missing, correlate: ({ sku }) => `no ${sku}` })
          .signal('second', { from: stockCommands, correlate: ({ sku }) => sku }),
      )
      .step('after', { compensate: 'none', invoke: () => 1 })
    const { coordinator, binder } = await setup({ sagas: [saga] })
    const run = await coordinator.start(saga, { id: 'apple', input })
    await binder.send(stockCommands, input)
    const statusOf = async (name: string) => (await run.report()).steps.find(({ step }) => step === name)?.status
    await until('the later step has heard of it', async () => (await statusOf('second')) === 'invoked')
    expect(await statusOf('first')).toBe('invoking')
  },
)

test('a message is no dead letter of one saga while another saga has failed to hear it', async () => {
  const without = defineSaga('a-without', { version: 1, input: Input }).signal('told', {
    from: stockCommands,
    missing: 'dead-letter',
    correlate: ({ sku }) => `no ${sku}`,
  })
  let tries = 0
  const failing = defineSaga('b-failing', { version: 1, input: Input }).signal('told', {
    from: stockCommands,
    correlate: ({ sku }) => {
      if (++tries === 1) throw new Error('not now')
      return sku
    },
  })
  const { coordinator, binder } = await setup({ sagas: [without, failing] })
  const run = await coordinator.start(failing, { id: 'apple', input })
  await binder.send(stockCommands, input)
  expect(await run.outcome({ timeoutMs: 10_000 })).toMatchObject({ status: 'completed' })
})

test('a saga is kept in memory between its writes only while it is small in all parts', async () => {
  const wide = z.object({ text: z.string() })
  const saga = defineSaga('kept', { version: 1, input: wide })
    .step('first', {
      compensate: 'none',
      invoke: ({ input: { text } }) => (text === 'result' ? 'y'.repeat(25_000) : 1),
    })
    .signal('go', { payload: z.string() })
    .signal('end', { payload: z.string() })
  const inner = embedded()
  const loaded: unknown[] = []
  const sql: SqlClient = {
    ...inner,
    query: (text, parameters) => {
      if (/^SELECT .* WHERE name = \$1 AND id = \$2$/s.test(text)) loaded.push(parameters?.[1])
      return inner.query<never>(text, parameters)
    },
  }
  const world = await setup({ sagas: [saga], coordinator: { sql, pollMs: 60_000 } })
  const { coordinator } = world
  const texts = { small: 'x', input: 'x'.repeat(25_000), result: 'result' }
  for (const [id, text] of Object.entries(texts)) {
    const run = await coordinator.start(saga, { id, input: { text } })
    await until(`${id} waits`, async () => (await run.report()).timeline.some(({ kind }) => kind === 'waiting'))
  }
  loaded.length = 0
  for (const id of Object.keys(texts)) await coordinator.cancel({ saga: 'kept', id }, { by: 'ann', reason: 'enough' })
  expect(loaded).toEqual(['input', 'result'])
})
