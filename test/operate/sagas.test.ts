import { createOperator, type Operator } from '@concordat/cli'
import { defineSaga, Refusal } from 'concordat/saga'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { runningWorlds } from '../saga/support/running-world.ts'
import { gate, until } from '../support/until.ts'

const setup = runningWorlds()
const note = { by: 'ann', reason: 'the bank is open again' }

/** A saga whose last step refuses until the test changes it, so that it is stuck after its pivot. */
function buy() {
  const bank = { open: false, calls: 0 }
  const saga = defineSaga('buy', { version: 1, input: z.object({ n: z.number() }) })
    .step('reserve', { invoke: () => ({ shelf: 7 }), pivot: true })
    .step('pay', {
      retry: { maxAttempts: 1 },
      invoke: () => {
        bank.calls++
        if (!bank.open) throw new Refusal('bank.closed', 'closed on Sundays')
      },
    })
  return { saga, bank }
}

async function stuckWorld(ids: readonly string[] = ['o-1']) {
  const { saga, bank } = buy()
  const world = await setup({ sagas: [saga] })
  for (const id of ids) {
    const run = await world.coordinator.start(saga, { id, input: { n: 1 } })
    expect((await run.outcome()).status).toBe('stuck')
  }
  const operator = createOperator({ sql: world.sql, schema: world.outbox.schema })
  return { ...world, saga, bank, operator }
}

const target = { saga: 'buy', id: 'o-1' }
const status = async (operator: Operator, id = 'o-1') => (await operator.sagas.show({ saga: 'buy', id })).status

describe('list and show', () => {
  test('pages by place, and filters by id prefix, status, age and code', async () => {
    const { operator } = await stuckWorld(['o-1', 'o-2', 'x-3'])
    const first = await operator.sagas.list({ limit: 2 })
    expect(first.sagas.map(({ id }) => id)).toEqual(['o-1', 'o-2'])
    const second = await operator.sagas.list({ limit: 2, after: first.next ?? '' })
    expect(second).toMatchObject({ sagas: [{ id: 'x-3', waitingOn: ['pay'], owner: null }], next: null })
    const ids = async (filter: object) => (await operator.sagas.list(filter)).sagas.map(({ id }) => id)
    expect(await ids({ idPrefix: 'x-' })).toEqual(['x-3'])
    expect(await ids({ status: 'completed' })).toEqual([])
    expect(await ids({ status: 'stuck', code: 'bank.closed', saga: 'buy' })).toEqual(['o-1', 'o-2', 'x-3'])
    expect(await ids({ olderThanMs: 3_600_000 })).toEqual([])
    expect(await ids({ owner: 'nobody' })).toEqual([])
  })

  test('show the same start and the same last change, each time', async () => {
    const { operator } = await stuckWorld()
    const [line] = (await operator.sagas.list()).sagas
    for (let look = 0; look < 5; look++)
      expect(await operator.sagas.show(target)).toMatchObject({
        startedAt: line?.startedAt,
        changedAt: line?.changedAt,
      })
  })

  test('newest first, page by page, and counts those that are open', async () => {
    const { operator } = await stuckWorld(['o-1', 'o-2', 'x-3'])
    const first = await operator.sagas.list({ order: 'newest', limit: 2 })
    expect(first.sagas.map(({ id }) => id)).toEqual(['x-3', 'o-2'])
    const second = await operator.sagas.list({ order: 'newest', limit: 2, after: first.next ?? '' })
    expect(second).toMatchObject({ sagas: [{ id: 'o-1' }], next: null })
    await expect(operator.sagas.list({ order: 'odd' as never })).rejects.toThrow('sagas.list.order')
    expect(await operator.sagas.count()).toEqual({ running: 0, compensating: 0, stuck: 3 })
    await operator.sagas.resolve({ saga: 'buy', id: 'o-2' }, { ...note, outcome: 'completed' })
    expect(await operator.sagas.count()).toEqual({ running: 0, compensating: 0, stuck: 2 })
  })

  test('say of a saga that is stuck in its compensation what it is stuck on, not what turned it back', async () => {
    const saga = defineSaga('buy', { version: 1, input: z.object({ n: z.number() }) })
      .step('pay', {
        invoke: () => 1,
        compensate: () => Promise.reject(Object.assign(new Error('no refunds'), { code: 'bank.closed' })),
        compensationRetry: { maxAttempts: 1 },
      })
      .step('ship', { invoke: () => Promise.reject(new Refusal('stock.empty', 'sold out')), compensate: 'none' })
    const { coordinator, sql, outbox } = await setup({ sagas: [saga] })
    const run = await coordinator.start(saga, { id: 'o-1', input: { n: 1 } })
    expect((await run.outcome()).status).toBe('stuck')
    const { sagas } = createOperator({ sql, schema: outbox.schema })
    const failure = { step: 'pay', code: 'bank.closed' }
    expect(await sagas.list({ code: 'bank.closed' })).toMatchObject({ sagas: [{ id: 'o-1', failure }] })
    expect(await sagas.list({ code: 'stock.empty' })).toMatchObject({ sagas: [] })
    expect(await sagas.show(target)).toMatchObject({ failure })
  })

  test('hides payloads unless asked for them', async () => {
    const { operator } = await stuckWorld()
    const hidden = await operator.sagas.show(target)
    expect(hidden).toMatchObject({ status: 'stuck', failure: { code: 'bank.closed' }, pending: [] })
    expect(JSON.stringify(hidden)).not.toContain('shelf')
    expect(hidden.timeline.at(-1)?.kind).toBe('stuck')
    expect(await operator.sagas.show(target, { payloads: true })).toMatchObject({
      input: { n: 1 },
      steps: [
        { step: 'reserve', result: { shelf: 7 } },
        { step: 'pay', wait: 'operator' },
      ],
    })
    await expect(operator.sagas.show({ saga: 'buy', id: 'none' })).rejects.toMatchObject({ code: 'saga.not_found' })
  })
})

describe('actions without the definition', () => {
  test('retry is applied by the instance that has it, and stands in the timeline', async () => {
    const { operator, bank, coordinator, saga } = await stuckWorld()
    bank.open = true
    expect(await operator.sagas.retry(target, note)).toMatchObject({ outcome: 'applied', action: 'retry' })
    const outcome = await coordinator.get(saga, 'o-1').outcome()
    expect(outcome.status).toBe('completed')
    const { detail } = outcome.timeline.find(({ kind }) => kind === 'operator-retry') ?? {}
    expect(detail).toEqual({ ...note, request: expect.any(String) as string })
    expect(bank.calls).toBe(2)
  })

  test('skip goes on without a call', async () => {
    const { operator, bank, coordinator, saga } = await stuckWorld()
    expect((await operator.sagas.skip(target, note)).outcome).toBe('applied')
    expect((await coordinator.get(saga, 'o-1').outcome()).status).toBe('completed')
    expect(bank.calls).toBe(1)
  })

  test.each([
    ['one by one', false],
    ['as a bulk action', true],
  ])('skip that is said twice, %s, takes no later step as done', async (_, isBulk) => {
    const calls: string[] = []
    const fails = (step: string) => () => {
      calls.push(step)
      throw new Refusal('no', step)
    }
    const saga = defineSaga('ship', { version: 1, input: z.object({}) })
      .step('pay', { pivot: true, invoke: () => void calls.push('pay') })
      .step('mail', { retry: { maxAttempts: 1 }, invoke: fails('mail') })
      .step('ship', { retry: { maxAttempts: 1 }, invoke: fails('ship') })
    const { coordinator, sql, outbox, another } = await setup({ sagas: [saga] })
    await (await coordinator.start(saga, { id: 's-1', input: {} })).outcome()
    await coordinator.close()
    const { sagas } = createOperator({ sql, schema: outbox.schema })
    const first = { by: 'ann', reason: 'the mail does not matter', waitMs: 0 }
    const skip = async () => {
      if (!isBulk) return sagas.skip({ saga: 'ship', id: 's-1' }, first).catch(({ message }: Error) => message)
      const { results } = await sagas.bulk({ ...first, action: 'skip', filter: { saga: 'ship' }, dryRun: false })
      return results[0]?.why ?? results[0]
    }
    expect(await skip()).toMatchObject({ outcome: 'waiting' })
    expect(await skip()).toContain('"skip" by ann waits to be taken up: look again when it has been')
    const next = another()
    await next.run()
    const timeline = async () => (await next.get(saga, 's-1').report()).timeline
    await until('it is stuck again', async () =>
      (await timeline()).some(({ kind, step }) => `${kind} ${step}` === 'stuck ship'),
    )
    const skipped = (await timeline()).filter(({ kind }) => kind === 'operator-skip')
    expect(skipped.map(({ step }) => step)).toEqual(['mail'])
    expect(calls).toEqual(['pay', 'mail', 'ship'])
    await next.close()
  })

  test.each([
    ['a compensation', 'no refunds', 'it is stuck on compensate of step "pay", and only an invoke has a result'],
    ['a choice', undefined, 'it is stuck on invoke of step "way", which cannot have this result'],
  ])('skip of %s with a result that it cannot have is refused, with the reason', async (_, refunds, why) => {
    const no = (code: string) => () => Promise.reject(new Refusal(code, code))
    const compensate = refunds === undefined ? () => {} : no(refunds)
    const saga = defineSaga('buy', { version: 1, input: z.object({}) })
      .step('pay', { invoke: () => 1, compensate, compensationRetry: { maxAttempts: 1 } })
      .step('ship', { pivot: true, invoke: refunds === undefined ? () => 1 : no('sold out') })
      .choose('way', no('no way') as never, { air: (then) => then, road: (then) => then })
    const { coordinator, sql, outbox } = await setup({ sagas: [saga] })
    const run = await coordinator.start(saga, { id: 'o-1', input: {} })
    expect((await run.outcome()).status).toBe('stuck')
    const skipped = createOperator({ sql, schema: outbox.schema }).sagas.skip(target, { ...note, result: 'rail' })
    await expect(skipped).rejects.toMatchObject({ message: expect.stringContaining(why) as string })
  })

  test('skip for a step that it is not stuck on any more is refused', async () => {
    const { operator, bank } = await stuckWorld()
    await expect(operator.sagas.skip(target, { ...note, step: 'reserve' })).rejects.toMatchObject({
      code: 'saga.action_refused',
      message: expect.stringContaining('no longer on invoke of step "reserve"') as string,
    })
    expect(bank.calls).toBe(1)
  })

  test('an action that does not fit the state is refused and nothing is written', async () => {
    const { operator } = await stuckWorld()
    const before = await operator.sagas.show(target)
    await expect(operator.sagas.cancel(target, note)).rejects.toMatchObject({ code: 'saga.action_refused' })
    await expect(operator.sagas.retry({ saga: 'buy', id: 'none' }, note)).rejects.toMatchObject({
      code: 'saga.not_found',
    })
    expect((await operator.sagas.show(target)).timeline).toEqual(before.timeline)
  })

  test('an action that only the definition can refuse is refused by its instance, with a line that says why', async () => {
    const { operator } = await stuckWorld()
    await expect(operator.sagas.compensate(target, note)).rejects.toMatchObject({ code: 'saga.action_refused' })
    const { timeline, pending } = await operator.sagas.show(target)
    expect(timeline.at(-1)).toMatchObject({
      kind: 'operator-refused',
      detail: { ...note, action: 'compensate', why: 'it is stuck on invoke of step "pay", not on its pivot' },
    })
    expect(pending).toEqual([])
  })

  test('waits in the row while no instance has the version, and is applied when one comes', async () => {
    const { operator, coordinator, another, bank } = await stuckWorld()
    await coordinator.close()
    bank.open = true
    expect((await operator.sagas.retry(target, { ...note, waitMs: 0 })).outcome).toBe('waiting')
    expect((await operator.sagas.show(target)).pending).toEqual([{ action: 'retry', ...note }])
    expect((await operator.sagas.list()).sagas[0]?.pendingActions).toBe(1)
    const later = another()
    await later.run()
    await expect.poll(() => status(operator)).toBe('completed')
    await later.close()
  })

  test('resolve needs no instance', async () => {
    const { operator, coordinator } = await stuckWorld()
    await coordinator.close()
    expect(await operator.sagas.resolve(target, { ...note, outcome: 'completed' })).toEqual({
      ...target,
      action: 'resolve',
      outcome: 'applied',
      status: 'completed',
    })
    const { timeline } = await operator.sagas.show(target)
    expect(timeline.slice(-2).map(({ kind }) => kind)).toEqual(['operator-resolve', 'saga-completed'])
    await expect(operator.sagas.resolve(target, { ...note, outcome: 'completed' })).rejects.toMatchObject({
      code: 'saga.action_refused',
    })
  })

  test('cancel turns a saga back between two local steps of one owner', async () => {
    const [entered, leave] = [gate(), gate()]
    const calls: string[] = []
    const saga = defineSaga('two', { version: 1, input: z.object({}) })
      .step('a', {
        invoke: async () => {
          entered.open()
          await leave.opened
        },
        compensate: () => void calls.push('undo a'),
      })
      .step('b', { invoke: () => void calls.push('b'), compensate: () => undefined })
    const { coordinator, sql, outbox } = await setup({ sagas: [saga] })
    const operator = createOperator({ sql, schema: outbox.schema })
    const run = await coordinator.start(saga, { id: 'x', input: {} })
    await entered.opened
    expect((await operator.sagas.cancel({ saga: 'two', id: 'x' }, { ...note, waitMs: 0 })).outcome).toBe('waiting')
    leave.open()
    expect((await run.outcome()).status).toBe('compensated')
    expect(calls).toEqual(['undo a'])
    const kinds = (await operator.sagas.show({ saga: 'two', id: 'x' })).timeline.map(({ kind }) => kind)
    expect(kinds.filter((kind) => kind.startsWith('operator'))).toEqual(['operator-cancel'])
  })
})

test('a cancellation that comes before the mail that it was left behind is not refused afterwards', async () => {
  const saga = defineSaga('calls', { version: 1, input: z.object({}) })
    .step('open', { invoke: () => undefined, compensate: () => undefined })
    .signal('one', { payload: z.object({}) })
    .signal('two', { payload: z.object({}) })
  const { coordinator, another, sql, outbox } = await setup({ sagas: [saga] })
  const operator = createOperator({ sql, schema: outbox.schema })
  await coordinator.start(saga, { id: 'x', input: {} })
  await expect.poll(async () => (await operator.sagas.list()).sagas[0]?.waitingOn).toEqual(['one'])
  await coordinator.close()
  const without = another({ sagas: [buy().saga] })
  await without.signal(saga, 'x', 'one', {})
  await without.signal(saga, 'x', 'two', {})
  await operator.sagas.cancel({ saga: 'calls', id: 'x' }, { ...note, waitMs: 0 })
  const later = another()
  await later.run()
  await expect.poll(async () => (await operator.sagas.show({ saga: 'calls', id: 'x' })).status).toBe('compensated')
  const { timeline, pending } = await operator.sagas.show({ saga: 'calls', id: 'x' })
  const kinds = timeline.map(({ kind }) => kind)
  expect(kinds.filter((kind) => kind.startsWith('operator'))).toEqual(['operator-cancel'])
  expect(pending).toEqual([])
  await without.close()
  await later.close()
})

test('one of two waiting cancellations is applied, and the other has a line that says why not', async () => {
  const saga = defineSaga('waits', { version: 1, input: z.object({}) })
    .step('open', { invoke: () => undefined, compensate: () => undefined })
    .signal('go', { payload: z.object({}) })
  const { coordinator, another, sql, outbox } = await setup({ sagas: [saga] })
  const operator = createOperator({ sql, schema: outbox.schema })
  await coordinator.start(saga, { id: 'x', input: {} })
  await expect.poll(async () => (await operator.sagas.list()).sagas[0]?.waitingOn).toEqual(['go'])
  await coordinator.close()
  for (const by of ['ann', 'bob']) {
    await operator.sagas.cancel({ saga: 'waits', id: 'x' }, { by, reason: 'closed', waitMs: 0 })
  }
  const later = another()
  await later.run()
  await expect.poll(async () => (await operator.sagas.show({ saga: 'waits', id: 'x' })).status).toBe('compensated')
  const { timeline, pending } = await operator.sagas.show({ saga: 'waits', id: 'x' })
  const told = timeline
    .filter(({ kind }) => kind.startsWith('operator'))
    .map(({ kind, detail }) => [kind, detail?.['by']])
  expect(told.toSorted((a, b) => String(a[0]).localeCompare(String(b[0])))).toEqual([
    ['operator-cancel', expect.any(String)],
    ['operator-refused', expect.any(String)],
  ])
  expect(new Set(told.map(([, by]) => by))).toEqual(new Set(['ann', 'bob']))
  expect(pending).toEqual([])
  await later.close()
})

test('an action that waits while the saga ends has a line that says why it was not done', async () => {
  const [entered, leave] = [gate(), gate()]
  const saga = defineSaga('last', { version: 1, input: z.object({}) }).step('pay', {
    pivot: true,
    invoke: async () => {
      entered.open()
      await leave.opened
    },
  })
  const { coordinator, sql, outbox } = await setup({ sagas: [saga] })
  const operator = createOperator({ sql, schema: outbox.schema })
  const run = await coordinator.start(saga, { id: 'x', input: {} })
  await entered.opened
  expect((await operator.sagas.cancel({ saga: 'last', id: 'x' }, { ...note, waitMs: 0 })).outcome).toBe('waiting')
  leave.open()
  expect((await run.outcome()).status).toBe('completed')
  const { timeline, pending } = await operator.sagas.show({ saga: 'last', id: 'x' })
  expect(pending).toEqual([])
  expect(timeline.at(-1)).toMatchObject({
    kind: 'operator-refused',
    detail: { ...note, action: 'cancel', why: 'it is completed' },
  })
})

test('an action that waits for an instance is refused when another operator ends the saga', async () => {
  const { operator, coordinator } = await stuckWorld()
  await coordinator.close()
  await operator.sagas.retry(target, { ...note, waitMs: 0 })
  await operator.sagas.resolve(target, { by: 'bob', reason: 'paid in cash', outcome: 'completed' })
  const { timeline, pending } = await operator.sagas.show(target)
  expect(pending).toEqual([])
  expect(timeline.find(({ kind }) => kind === 'operator-refused')?.detail).toMatchObject({ ...note, action: 'retry' })
})

test.each([
  ['more emoji than a line keeps', '😀'.repeat(300)],
  ['half a surrogate pair', 'no \ud83d'],
  ['NUL', 'no \0'],
])('a result is refused when the schema says why in %s, and the next action is applied', async (_, message) => {
  const Parcel = z.object({ n: z.number().refine((n) => n > 10, { error: message }) })
  const saga = defineSaga('parcel', { version: 1, input: z.object({}) })
    .step('pay', { pivot: true, invoke: () => undefined })
    .signal('sent', { payload: Parcel, timeoutMs: 50 })
  const { coordinator, sql, outbox } = await setup({ sagas: [saga] })
  const operator = createOperator({ sql, schema: outbox.schema })
  const run = await coordinator.start(saga, { id: 'x', input: {} })
  expect((await run.outcome()).status).toBe('stuck')
  const skip = (n: number) => operator.sagas.skip({ saga: 'parcel', id: 'x' }, { ...note, result: { n } })
  await expect(skip(1)).rejects.toMatchObject({
    code: 'saga.action_refused',
    message: expect.stringMatching(/^saga parcel\/x refused "skip": result of sent /),
  })
  expect((await skip(11)).outcome).toBe('applied')
})

describe('bulk', () => {
  test('lists by default, and with dryRun false does each within the limit', async () => {
    const { operator, bank } = await stuckWorld(['o-1', 'o-2', 'o-3'])
    bank.open = true
    const order = { action: 'retry', filter: { code: 'bank.closed' }, limit: 2, ...note } as const
    const dry = await operator.sagas.bulk(order)
    expect(dry).toMatchObject({ dryRun: true, more: true, results: [{ outcome: 'would' }, { outcome: 'would' }] })
    expect(await status(operator)).toBe('stuck')
    const done = await operator.sagas.bulk({ ...order, dryRun: false })
    expect(done.results.map(({ id, outcome }) => [id, outcome])).toEqual([
      ['o-1', 'applied'],
      ['o-2', 'applied'],
    ])
    expect(await status(operator, 'o-3')).toBe('stuck')
  })

  test('acts on the sagas of a dry run alone, as it saw them', async () => {
    const { operator, bank, coordinator, saga } = await stuckWorld(['o-1', 'o-2', 'o-3'])
    const order = { action: 'skip', filter: { code: 'bank.closed' }, ...note } as const
    const { chosen } = await operator.sagas.bulk(order)
    expect(chosen).toEqual(['o-1', 'o-2', 'o-3'].map((id) => ({ saga: 'buy', id, step: 'pay', timesStuck: 1 })))
    // Until the operator confirms: one is settled by another operator, one is stuck again, and one more becomes stuck.
    await operator.sagas.resolve({ saga: 'buy', id: 'o-1' }, { ...note, outcome: 'completed' })
    await operator.sagas.retry({ saga: 'buy', id: 'o-2' }, note)
    await until('it is stuck again', () => bank.calls === 4)
    await until('it is written', async () => (await status(operator, 'o-2')) === 'stuck')
    const late = await coordinator.start(saga, { id: 'o-0', input: { n: 1 } })
    expect((await late.outcome()).status).toBe('stuck')

    const { results } = await operator.sagas.bulk({ ...order, among: chosen, dryRun: false })
    expect(results).toMatchObject([
      { id: 'o-2', outcome: 'refused', why: expect.stringContaining('the saga has changed') },
      { id: 'o-3', outcome: 'applied' },
    ])
    expect(await status(operator, 'o-0')).toBe('stuck')
    const wrong = { ...order, among: [{ id: 'o-1' }] as never }
    await expect(operator.sagas.bulk(wrong)).rejects.toThrow('sagas.bulk.among[0]')
    const hostile = { ...order, among: [{ saga: 'buy\0', id: 'o-1' }] }
    await expect(operator.sagas.bulk(hostile)).rejects.toThrow('sagas.bulk.among[0]')
  })
})

test('every action needs who and why', async () => {
  const { operator } = await stuckWorld()
  const js = (value: unknown): never => value as never
  await expect(operator.sagas.retry(target, js({ by: 'ann' }))).rejects.toThrow('retry.reason')
  await expect(operator.sagas.resolve(target, js({ reason: 'x', outcome: 'completed' }))).rejects.toThrow('resolve.by')
  await expect(operator.sagas.bulk(js({ action: 'retry', filter: {}, by: 'ann' }))).rejects.toThrow('sagas.bulk.reason')
  await expect(operator.outbox.retry('id', js({ by: 'ann' }))).rejects.toThrow('outbox.retry.reason')
  await expect(operator.sagas.list({ after: 'x' })).rejects.toThrow('sagas.list.after')
  expect(await status(operator)).toBe('stuck')
})
