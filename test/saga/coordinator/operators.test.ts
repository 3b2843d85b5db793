import { defineSaga, Refusal } from 'concordat/saga'
import { type Coordinator, createCoordinator } from 'concordat/saga/coordinator'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { SagaSummary } from '../../support/inside/saga.ts'
import { runningWorlds } from '../support/running-world.ts'

const Input = z.object({ refuse: z.string().optional() })
const note = { by: 'ann', reason: 'called the bank' }
const setup = runningWorlds()
/** Cast for calls that plain JavaScript can make. */
const js = (value: unknown): never => value as never

const define = (name: string, version = 1) =>
  defineSaga(name, { version, input: Input }).step('pay', {
    pivot: true,
    transactional: true,
    retry: { maxAttempts: 1 },
    invoke: ({ input }) => {
      if (input.refuse !== undefined) throw new Refusal(input.refuse, 'no')
    },
  })
const buy = define('buy')
const rent = define('rent', 3)

async function setupThree() {
  const world = await setup({ sagas: [buy, rent] })
  const { coordinator } = world
  for (const id of ['a', 'b']) await (await coordinator.start(buy, { id, input: {} })).outcome()
  await (await coordinator.start(buy, { id: 'c', input: { refuse: 'bank.no' } })).outcome()
  await (await coordinator.start(rent, { id: 'd', input: {} })).outcome()
  return world
}

/** A coordinator without a database: nothing may be asked of it. */
function bare(): Coordinator {
  const never = (): never => {
    throw new Error('asked the database')
  }
  const sql = { query: never, transaction: never }
  return createCoordinator({ service: 'shop', sql, outbox: { addEncoded: never }, sagas: [buy] })
}

const ids = (lines: readonly SagaSummary[]): string[] => lines.map(({ id }) => id)

describe('list', () => {
  test('filters by saga, version, status and failure, oldest first', async () => {
    const { coordinator } = await setupThree()
    expect(ids(await coordinator.list())).toEqual(['a', 'b', 'c', 'd'])
    expect(ids(await coordinator.list({ saga: 'buy' }))).toEqual(['a', 'b', 'c'])
    expect(ids(await coordinator.list({ version: 3 }))).toEqual(['d'])
    expect(ids(await coordinator.list({ status: 'completed', saga: 'buy' }))).toEqual(['a', 'b'])
    expect(ids(await coordinator.list({ code: 'bank.no' }))).toEqual(['c'])
    expect(ids(await coordinator.list({ code: 'bank.no', status: 'completed' }))).toEqual([])
  })

  test('filters by start time, and continues where a page ended', async () => {
    const { coordinator } = await setupThree()
    const all = await coordinator.list()
    const [first, , third] = all as [SagaSummary, SagaSummary, SagaSummary, SagaSummary]
    expect(ids(await coordinator.list({ startedBefore: first.createdAt }))).toEqual([])
    expect(ids(await coordinator.list({ startedAfter: Date.now() + 60_000 }))).toEqual([])
    expect(ids(await coordinator.list({ startedAfter: first.createdAt - 1, startedBefore: third.createdAt }))).toEqual([
      'a',
      'b',
    ])
    expect(ids(await coordinator.list({ startedAfter: -62_135_596_800_000, startedBefore: 8.64e15 }))).toHaveLength(4)
    const pages: string[] = []
    let after: SagaSummary | undefined
    do {
      const page: readonly SagaSummary[] = await coordinator.list({ limit: 3, after })
      pages.push(ids(page).join(''))
      after = page.at(-1)
    } while (after !== undefined)
    expect(pages).toEqual(['abc', 'd', ''])
  })

  test.each<[object, string]>([
    [{ state: 'stuck' }, 'list.state: expected one of status, saga'],
    [{ status: 'done' }, "list.status: expected 'running', 'compensating', 'completed', 'compensated' or 'stuck', got"],
    [{ limit: 0 }, 'list.limit: expected a whole number >= 1'],
    [{ version: '1' }, 'list.version: expected a whole number >= 1'],
    [{ saga: 7 }, 'list.saga: expected'],
    [{ code: '' }, 'list.code: expected'],
    [{ startedAfter: new Date() }, 'list.startedAfter: expected a number of ms since 1970'],
    [{ startedAfter: -8.64e15 }, 'from the year 1 to the year 275760, got -8640000000000000'],
    [{ startedBefore: 8.64e15 + 1 }, 'from the year 1 to the year 275760, got 8640000000000001'],
    [
      { startedBefore: new Date(Number.NaN) },
      'list.startedBefore: expected a number of ms since 1970, from the year 1',
    ],
    [
      { after: { saga: 'a', name: 'a', id: 'x', createdAt: -8.64e15 } },
      'list.after: expected a line that list() returned',
    ],
    [{ after: { id: 'x' } }, 'list.after: expected a line that list() returned'],
  ])('refuses %j', async (filter, message) => {
    await expect(bare().list(js(filter))).rejects.toThrow(message)
  })
})

describe('report', () => {
  test('shows the whole story of a saga, also of one whose version is not loaded', async () => {
    const { coordinator, another } = await setupThree()
    const [line] = await coordinator.list({ saga: 'rent' })
    const other = another({ sagas: [buy] })
    const report = await other.report(line as SagaSummary)
    expect(report).toMatchObject({ saga: 'rent', id: 'd', version: 3, status: 'completed' })
    expect(report.timeline.map(({ kind }) => kind)).toEqual(['started', 'invoking', 'invoked', 'saga-completed'])
    await expect(other.report({ saga: 'rent', id: 'nobody' })).rejects.toMatchObject({ code: 'saga.not_found' })
    await other.close()
  })
})

describe('an action', () => {
  test.each<[string, unknown]>([
    ['no note', undefined],
    ['nobody', { reason: 'why not' }],
    ['an empty name', { by: '', reason: 'why not' }],
    ['no reason', { by: 'ann' }],
    ['a reason that is no text', { by: 'ann', reason: 1 }],
  ])('is not done for %s: it could not be recorded', async (_, wrong) => {
    const coordinator = bare()
    for (const act of ['cancel', 'retry', 'skip', 'compensate', 'resolve'] as const) {
      const done = coordinator[act]({ saga: 'buy', id: 'c' }, js(wrong))
      await expect(done).rejects.toThrow(new RegExp(`^${act}(\\.by|\\.reason)?: expected `))
    }
  })

  test('names invalid values: an unknown target, an outcome that is no end', async () => {
    const coordinator = bare()
    await expect(coordinator.retry(js({ id: 'c' }), note)).rejects.toThrow('retry: expected a saga: { saga, id }')
    await expect(coordinator.cancel(js('c'), note)).rejects.toThrow('cancel: expected a saga: { saga, id }')
    await expect(coordinator.resolve({ saga: 'buy', id: 'c' }, js({ ...note, outcome: 'stuck' }))).rejects.toThrow(
      "resolve.outcome: expected 'completed' or 'compensated', got",
    )
  })
})

test.each(['', 'x\0y', '\ud800', 'x'.repeat(201)])('get refuses an id that no saga can have: %j', (id) => {
  expect(() => bare().get(buy, id)).toThrow(/^get: expected a string of 1 to 200 characters/)
})
