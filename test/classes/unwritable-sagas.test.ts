/**
 * Writes that can never succeed, for everything that writes on behalf of a saga: coordinator, replies, due sagas,
 * sub-sagas, participants. Each ends its saga, or marks it stuck and calls `onStuck`. None calls a step again and
 * again.
 */
import type { SqlClient } from 'concordat/core'
import { defineSaga, Refusal, type Saga } from 'concordat/saga'
import { afterEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { runningWorlds } from '../saga/support/running-world.ts'
import { embedded, FAST, type StockCommand, stockCommands } from '../saga/support/world.ts'
import { latin1, refusingSql, serverError } from '../support/refusing-sql.ts'
import { until } from '../support/until.ts'

const setup = runningWorlds()
const Input = z.object({ n: z.number() })
const GRIN = '😀'
const HUGE: StockCommand = { sku: 'x'.repeat(2_000_000), n: 1 }
const small: StockCommand = { sku: 'x', n: 1 }
const retry = { maxAttempts: 2, ...FAST }
const huge = { to: stockCommands, request: () => HUGE, compensate: true } as const
const within = { timeoutMs: 20_000 }
let calls: string[] = []

afterEach(() => {
  calls = []
})

const called = (name: string, result?: string) => (): string | undefined => {
  calls.push(name)
  return result
}
const undoes = (name: string) => (): void => void calls.push(name)
const failing = (error: Error) => () => {
  calls.push('fails')
  throw error
}
const sagaOf = (name = 's') => defineSaga(name, { version: 1, input: Input })
const reserve = { invoke: called('reserve'), compensate: undoes('release'), retry }

interface Run {
  readonly saga: Saga<unknown, unknown, object>
  readonly others?: readonly Saga<unknown, unknown, object>[]
  readonly sql?: SqlClient
  readonly coordinatorSql?: SqlClient
  readonly handler?: () => unknown
  readonly signal?: true
}

async function run({ saga, others = [], sql, coordinatorSql, handler, signal }: Run) {
  const told: unknown[] = []
  const world = await setup({
    sagas: [saga, ...others],
    ...(sql && { sql }),
    handlers: { invoke: handler ?? called('asked'), compensate: undoes('taken back') },
    coordinator: {
      leaseMs: 1_000,
      onStuck: (stuck) => void told.push(stuck),
      ...(coordinatorSql && { sql: coordinatorSql }),
    },
  })
  const started = await world.coordinator.start(saga as never, { id: '1', input: { n: 1 } as never })
  if (signal) await world.coordinator.signal(saga as never, '1', 'go' as never, 'now' as never)
  const outcome = await started.outcome(within)
  const { status } = outcome
  if (status === 'stuck') await until('onStuck was called', () => told.length > 0)
  const failure = 'failure' in outcome ? outcome.failure : undefined
  return { status, code: failure?.code, told: told.length, health: world.coordinator.health().status, failure }
}

const compensated = (code: string) => ({ status: 'compensated', code, told: 0, health: 'up' })

describe('a command that the outbox can never accept', () => {
  const sub = sagaOf('sub').command('big', huge)
  test.each<[string, Saga<unknown, unknown, object>, readonly string[], Partial<Run>]>([
    ['after a plain step', sagaOf().step('a', reserve).command('big', huge), ['reserve', 'release'], {}],
    [
      'after a TCC step of the coordinator',
      sagaOf()
        .tcc('a', { try: called('try'), confirm: undoes('confirm'), cancel: undoes('cancel'), retry })
        .command('big', huge),
      ['try', 'cancel'],
      {},
    ],
    [
      'after a command',
      sagaOf()
        .command('a', { to: stockCommands, request: () => small, compensate: true })
        .command('big', huge),
      ['asked', 'taken back'],
      {},
    ],
    [
      'after a timer',
      sagaOf().step('a', reserve).timer('t', { delay: 1 }).command('big', huge),
      ['reserve', 'release'],
      {},
    ],
    [
      'after a signal',
      sagaOf().step('a', reserve).signal('go', { payload: z.string() }).command('big', huge),
      ['reserve', 'release'],
      { signal: true },
    ],
    [
      'in a group',
      sagaOf()
        .step('a', reserve)
        .parallel((group) => group.command('big', huge).command('other', { ...huge, request: () => small })),
      ['reserve', 'release'],
      {},
    ],
  ])('%s is refused, and the saga turns back', async (_, saga, expected, more) => {
    expect(await run({ saga, ...more })).toMatchObject(compensated('outbox.too_large'))
    expect(calls).toEqual(expected)
  })

  test('as the first step of a sub-saga is refused, and its parent turns back', async () => {
    const saga = sagaOf()
      .step('a', reserve)
      .saga('sub', { saga: sub, input: ({ input }) => input, compensate: true })
    expect(await run({ saga, others: [sub] })).toMatchObject({ status: 'compensated', health: 'up' })
    expect(calls).toEqual(['reserve', 'release'])
  })

  test('after the pivot leaves the saga stuck and reported', async () => {
    const saga = sagaOf()
      .step('a', { invoke: called('paid'), pivot: true })
      .command('big', { ...huge, compensate: 'none' as const })
    expect(await run({ saga })).toEqual(expect.objectContaining({ status: 'stuck', code: 'outbox.too_large', told: 1 }))
    expect(calls).toEqual(['paid'])
  })

  test('as a compensation leaves the saga stuck and reported', async () => {
    let requests = 0
    const saga = sagaOf()
      .command('a', { to: stockCommands, request: () => (++requests > 1 ? HUGE : small), compensate: true })
      .step('b', { invoke: failing(new Refusal('no', 'no')), compensate: 'none' })
    expect(await run({ saga })).toMatchObject({ status: 'stuck', told: 1 })
    expect(calls).toEqual(['asked', 'fails'])
  })

  test('as the first step fails the start', async () => {
    await expect(run({ saga: sagaOf().command('big', huge) })).rejects.toMatchObject({ code: 'outbox.too_large' })
  })
})

describe('a text with characters that the database’s encoding lacks', () => {
  const after = () => sagaOf().step('a', reserve)
  const grins: Readonly<Record<string, [() => string | undefined, string]>> = {
    'in a result': [called('b', GRIN), '22P05'],
    'in an error': [failing(new Error(`broken ${GRIN}`)), 'Error'],
    'in a refusal': [failing(new Refusal('no', `no ${GRIN}`)), 'no'],
  }
  test.each(Object.entries(grins))('%s of a step turns the saga back', async (_, [invoke, code]) => {
    const saga = after().step('b', { invoke, compensate: undoes('b undone'), retry })
    const { failure, ...outcome } = await run({ saga, sql: latin1(embedded()) })
    expect(outcome).toMatchObject(compensated(code))
    expect(failure?.message).not.toContain(GRIN)
    expect(calls.filter((call) => call === 'b' || call === 'fails').length).toBeLessThanOrEqual(2)
  })

  test('in a reply turns the saga back', async () => {
    const saga = after().command('b', { to: stockCommands, request: () => small, compensate: true })
    const outcome = await run({ saga, coordinatorSql: latin1(embedded()), handler: called('asked', GRIN) })
    expect(outcome).toMatchObject(compensated('22P05'))
    expect(calls).toEqual(['reserve', 'asked', 'taken back', 'release'])
  })

  test.each<[string, () => unknown, string, boolean]>([
    ['a result', called('asked', GRIN), '22P05', false],
    ['a refusal', failing(new Refusal('no', `no ${GRIN}`)), 'no', false],
    ['an error', failing(new Error(`broken ${GRIN}`)), 'Error', true],
  ])('in %s of a participant turns the saga back with its cause', async (_, handler, code) => {
    const saga = after().command('b', { to: stockCommands, request: () => small, compensate: true, retry })
    expect(await run({ saga, sql: latin1(embedded()), handler })).toMatchObject(compensated(code))
  })
})

test('a state that is too large for the database fails the step that makes it so', async () => {
  const limited = refusingSql(embedded(), (_, [parameter]) =>
    typeof parameter === 'string' && parameter.length > 500_000
      ? serverError('54000', 'total size of jsonb object elements exceeds the maximum of 268435455 bytes')
      : undefined,
  )
  const big = (name: string) => ({
    invoke: called(name, 'x'.repeat(300_000)),
    compensate: undoes(`${name} undone`),
    retry,
  })
  const saga = sagaOf().step('a', big('a')).step('b', big('b'))
  expect(await run({ saga, sql: limited })).toMatchObject(compensated('54000'))
  expect(calls).toEqual(['a', 'b', 'b undone', 'a undone'])
})

test('health names a write that waits for an operator, and is up once it was made', async () => {
  let isDenied = false
  const sql = refusingSql(embedded(), (text) =>
    isDenied && text.includes('saga_write')
      ? serverError('42501', 'permission denied for table saga', { routine: 'aclcheck_error' })
      : undefined,
  )
  const saga = sagaOf().step('a', {
    compensate: 'none',
    invoke: () => {
      calls.push('a')
      isDenied = true
      return 'done'
    },
  })
  const world = await setup({ sagas: [saga], sql })
  const { coordinator } = world
  const started = await coordinator.start(saga, { id: '1', input: { n: 1 } })
  await expect
    .poll(() => coordinator.health(), { timeout: 10_000 })
    .toMatchObject({ status: 'down', error: expect.stringContaining('permission denied for table saga') })
  isDenied = false
  expect(await started.outcome(within)).toMatchObject({ status: 'completed' })
  expect(coordinator.health().status).toBe('up')
  expect(calls).toEqual(['a'])
})

test('health is not affected by a signal that can never be written, of which its sender is told', async () => {
  const saga = sagaOf().signal('go', { payload: z.string() })
  const { coordinator } = await setup({ sagas: [saga], coordinator: { sql: latin1(embedded()) } })
  await coordinator.start(saga, { id: 'x', input: { n: 1 } })
  await until('it waits', async () => (await coordinator.report({ saga: 's', id: 'x' })).steps[0]?.wait === 'signal')
  await expect(coordinator.signal(saga, 'x', 'go', GRIN)).rejects.toThrow('has no equivalent')
  expect(coordinator.health()).toMatchObject({ status: 'up' })
})
