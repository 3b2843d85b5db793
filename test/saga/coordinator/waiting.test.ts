import { defineChannel, type SinkBinding } from 'concordat/binder'
import { defineSaga } from 'concordat/saga'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { LogLines } from '../../support/log-lines.ts'
import { record } from '../../support/tracing.ts'
import { gate, until } from '../../support/until.ts'
import { deliver } from '../support/delivery.ts'
import { runningWorlds } from '../support/running-world.ts'

const Input = z.object({ n: z.number() })
const input = { n: 40 }
const Approval = z.object({ by: z.string(), at: z.string().pipe(z.coerce.date()).optional() })
const within = { timeoutMs: 10_000 }
const setup = runningWorlds()

const waitOf = async (run: { report(): Promise<{ steps: readonly { wait?: string | undefined }[] }> }) =>
  (await run.report()).steps.map(({ wait }) => wait).find((wait) => wait !== undefined)

describe('a timer', () => {
  test('waits for the defined time, and the saga continues', async () => {
    const saga = defineSaga('nap', { version: 1, input: Input })
      .timer('short', { delay: 1 })
      .timer('computed', { delay: ({ input: { n }, results }) => n + Object.keys(results).length })
      .timer('past', { delay: () => new Date(0) })
      .step('end', { invoke: ({ results }) => Object.keys(results).length, compensate: 'none' })
    const { coordinator, events } = await setup({ sagas: [saga] })
    const run = await coordinator.start(saga, { id: 'x', input })
    expect(await run.outcome(within)).toMatchObject({ status: 'completed', results: { end: 3 } })
    expect(await events('nap', 'x')).toContain('waiting computed')
  })

  test('continues over the death of its first process, and is not shortened by a later signal', async () => {
    const saga = defineSaga('long', { version: 1, input: Input })
      .timer('nap', { delay: 60_000 })
      .signal('yes', { payload: Approval })
    const { coordinator, another, sql, schema } = await setup({ sagas: [saga] })
    const run = await coordinator.start(saga, { id: 'x', input })
    expect(await coordinator.signal(saga, 'x', 'yes', { by: 'ann' })).toBe(true)
    await coordinator.close()
    const second = another()
    await second.run()
    expect(await waitOf(second.get(saga, 'x'))).toBe('time')
    const due = `SELECT due_at - clock_timestamp() BETWEEN '50 s' AND '60 s' AS kept FROM ${schema}.saga`
    expect((await sql.query(due)).rows).toEqual([{ kept: true }])
    await sql.query(`UPDATE ${schema}.saga SET due_at = now(), updated_at = now() - interval '2 minutes'`)
    expect((await second.get(saga, run.id).outcome(within)).status).toBe('completed')
    await second.close()
  })

  test('whose function returns no time turns the saga back', async () => {
    const saga = defineSaga('bad', { version: 1, input: Input }).timer('nap', { delay: () => Number.NaN })
    const { coordinator } = await setup({ sagas: [saga] })
    const outcome = await (await coordinator.start(saga, { id: 'x', input })).outcome(within)
    expect(outcome).toMatchObject({
      status: 'compensated',
      failure: { step: 'nap', message: 'timer("nap").delay: expected finite milliseconds, or a valid Date, got NaN' },
    })
  })

  test('longer than the database can add turns the saga back, and the step before it is called once', async () => {
    let calls = 0
    const saga = defineSaga('far', { version: 1, input: Input })
      .step('before', { invoke: () => ++calls, compensate: 'none' })
      .timer('nap', { delay: () => 1e9 * 86_400_000 })
    const { coordinator } = await setup({ sagas: [saga] })
    const outcome = await (await coordinator.start(saga, { id: 'x', input })).outcome(within)
    expect(outcome).toMatchObject({ status: 'compensated', failure: { step: 'nap' } })
    expect(calls).toBe(1)
  })

  test('a timer of a fixed length that the database cannot add is refused at its definition', () => {
    const define = () => defineSaga('far', { version: 1, input: Input }).timer('nap', { delay: 1e17 })
    expect(define).toThrow('delay: expected milliseconds from 0 to 315360000000000')
  })
})

describe('a signal', () => {
  const saga = defineSaga('approve', { version: 1, input: Input })
    .signal('approval', { payload: Approval })
    .step('end', {
      invoke: ({ results: { approval } }) => [approval.by, approval.at instanceof Date],
      compensate: 'none',
    })
  const ann = { by: 'ann', at: '2026-01-01T00:00:00Z' }

  test('lets the saga continue, with its payload as the result', async () => {
    const { coordinator, another } = await setup({ sagas: [saga] })
    const run = await coordinator.start(saga, { id: 'x', input })
    await expect.poll(() => waitOf(run)).toBe('signal')
    expect(await another().signal(saga, 'x', 'approval', ann)).toBe(true)
    expect((await run.outcome(within)).results).toMatchObject({ end: ['ann', true] })
  })

  test('counts once: a repetition, and one after the end, report that', async () => {
    const { coordinator } = await setup({ sagas: [saga] })
    const run = await coordinator.start(saga, { id: 'x', input })
    const told = await Promise.all(['ann', 'bob'].map((by) => coordinator.signal(saga, 'x', 'approval', { by })))
    expect(told.filter(Boolean)).toHaveLength(1)
    await run.outcome(within)
    expect(await coordinator.signal(saga, 'x', 'approval', ann)).toBe(false)
  })

  test('an invalid signal is refused, and the saga waits on', async () => {
    const { coordinator } = await setup({ sagas: [saga] })
    const run = await coordinator.start(saga, { id: 'x', input })
    const send = (step: string, payload: unknown, id = 'x') => coordinator.signal(saga, id, step as never, payload)
    await expect(send('approval', { by: 1 })).rejects.toMatchObject({ code: 'core.schema' })
    await expect(send('approval', ann, 'nobody')).rejects.toMatchObject({ code: 'saga.not_found' })
    await expect(send('end', ann)).rejects.toThrow('signal: expected a step of "approve" made by .signal(')
    await expect(send('approval', { by: 'nul \0' })).rejects.toMatchObject({ code: 'core.codec' })
    expect(await waitOf(run)).toBe('signal')
  })

  test('a signal that does not come in time turns the saga back', async () => {
    const impatient = defineSaga('impatient', { version: 1, input: Input })
      .step('a', { invoke: () => 1, compensate: () => {} })
      .signal('approval', { payload: Approval, timeoutMs: 30 })
    const { coordinator } = await setup({ sagas: [impatient] })
    const run = await coordinator.start(impatient, { id: 'x', input })
    expect(await run.outcome(within)).toMatchObject({ status: 'compensated', failure: { code: 'saga.no_signal' } })
  })

  test('that reaches an instance without the version is kept for one that has it', async () => {
    const other = defineSaga('approve', { version: 2, input: Input }).signal('approval', { payload: Approval })
    const { coordinator, another } = await setup({ sagas: [saga] })
    const run = await coordinator.start(saga, { id: 'x', input })
    await expect.poll(() => waitOf(run)).toBe('signal')
    expect(await another({ sagas: [other] }).signal(other, 'x', 'approval', ann)).toBe(true)
    expect((await run.outcome(within)).results).toMatchObject({ end: ['ann', true] })
  })

  test('survives, kept early, a step that fails and is tried again', async () => {
    const [entered, leave] = [gate(), gate()]
    let calls = 0
    const slow = defineSaga('slow', { version: 1, input: Input })
      .step('a', {
        retry: { initialMs: 1, maxMs: 1 },
        invoke: async () => {
          entered.open()
          await leave.opened
          if (++calls === 1) throw new Error('once')
        },
        compensate: 'none',
      })
      .signal('approval', { payload: Approval })
    const { coordinator } = await setup({ sagas: [slow] })
    const run = await coordinator.start(slow, { id: 'x', input })
    await entered.opened
    expect(await coordinator.signal(slow, 'x', 'approval', ann)).toBe(true)
    leave.open()
    expect((await run.outcome(within)).status).toBe('completed')
    expect(calls).toBe(2)
  })
})

describe('a message as signal', () => {
  const payments = defineChannel('payments', {
    payload: z.object({ orderId: z.string().optional(), cents: z.number() }),
  })
  const saga = defineSaga('paid', { version: 1, input: Input })
    .signal('payment', { from: payments, correlate: ({ orderId }) => orderId })
    .step('end', { invoke: ({ results }) => results.payment.cents, compensate: 'none' })

  test('reaches its saga; one without a saga harms nothing', async () => {
    const { coordinator, binder } = await setup({ sagas: [saga] })
    const run = await coordinator.start(saga, { id: 'o-1', input })
    await binder.sendBatch(payments, [{ cents: 1 }, { orderId: 'nobody', cents: 2 }, { orderId: 'o-1', cents: 3 }])
    expect((await run.outcome(within)).results).toMatchObject({ end: 3 })
    expect(binder.bindings().find(({ name }) => name.startsWith('payments'))).toMatchObject({ deadLettered: 0 })
  })

  const early = (missing: 'ignore' | 'retry' | 'dead-letter') =>
    defineSaga('early', { version: 1, input: Input })
      .signal('payment', { from: payments, missing, correlate: ({ orderId }) => orderId })
      .step('end', { invoke: ({ results }) => results.payment.cents, compensate: 'none' })

  test('a message that comes before its saga waits for it with missing: retry, and counts', async () => {
    const log = new LogLines()
    const recording = record()
    const saga = early('retry')
    const { coordinator, binder } = await setup({
      sagas: [saga],
      coordinator: { logger: log.logger, telemetry: recording.telemetry },
    })
    await binder.send(payments, { orderId: 'o-1', cents: 3 })
    await until('it found no saga', () => log.text.includes('message for a saga that does not exist'))
    const run = await coordinator.start(saga, { id: 'o-1', input })
    expect((await run.outcome(within)).results).toMatchObject({ end: 3 })
    expect(await recording.metric('concordat.saga.signal.missing')).toMatchObject([
      { attributes: { 'concordat.saga.name': 'early', 'concordat.saga.missing': 'retry' } },
    ])
  })

  test('a message without a saga is a dead letter at once with missing: dead-letter', async () => {
    const { binder } = await setup({ sagas: [early('dead-letter')] })
    await binder.send(payments, { orderId: 'o-1', cents: 3 })
    const isLetter = () => binder.bindings().some(({ deadLettered }) => deadLettered === 1)
    await until('it is a dead letter', isLetter)
  })

  test('is for no saga when correlate returns an id with a NUL, which no saga has', async () => {
    const log = new LogLines()
    const { coordinator } = await setup({ sagas: [early('ignore')], coordinator: { logger: log.logger } })
    await deliver(coordinator.bindings[1] as SinkBinding, { orderId: 'o\0-1', cents: 3 }, {}, 1)
    expect(log.text).toContain('message for a saga that does not exist')
  })

  test.each([5, null, new String('o-1'), Promise.resolve('o-1')])(
    'is tried again when correlate returns %o, which is neither a text nor undefined',
    async (id) => {
      const saga = defineSaga('paid', { version: 1, input: Input }) //
        .signal('payment', { from: payments, correlate: () => id as string })
      const { coordinator } = await setup({ sagas: [saga] })
      await expect(deliver(coordinator.bindings[1] as SinkBinding, { cents: 3 }, {}, 1)).rejects.toThrow(
        /correlate of "payment".*undefined/,
      )
    },
  )

  test('is not declared with another answer to a missing saga', () => {
    expect(() => early('keep' as 'retry')).toThrow(/missing: .*'ignore', 'retry' or 'dead-letter'/)
  })
})
