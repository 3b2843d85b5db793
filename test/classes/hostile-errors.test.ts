/**
 * Thrown values that cannot be read. They fail like every other error: counted, recorded, rolled back, and they block
 * nothing.
 */
import { type Binder, createBinder, defineChannel, processor, sink, sinkBatch, source } from 'concordat/binder'
import { type Logger, silentLogger } from 'concordat/core'
import { memoryTransport } from 'concordat/memory'
import { createInbox } from 'concordat/outbox'
import { defineSaga, type Saga } from 'concordat/saga'
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
// oxlint-disable no-restricted-imports -- internal
import { causesOf, hasCode, isRetryable, show, toError } from '../../core/errors.ts'
import { checkLogger, stderrLogger } from '../../core/logger.ts'
import { ConnectionEndReason } from '../../core/pg/connection-end-reason.ts'
import { sqlStateOf, sqlUnavailable } from '../../core/sql-unavailable.ts'
import { errorType } from '../../core/telemetry-interface.ts'
import { writeFault, writeOutcome } from '../../core/write-fault.ts'
import {
  describeError,
  failedEvent,
  isPermanent,
  isRefusal,
  isUnreadable,
} from '../../saga/coordinator/outcome-to-event.ts'
// oxlint-enable no-restricted-imports
import {
  closeEmbedded,
  embedded,
  FAST,
  openEmbedded,
  setupWorld,
  stockCommands,
  type World,
} from '../saga/support/world.ts'
import { HOSTILE_ERRORS } from '../support/hostile-errors.ts'
import { until } from '../support/until.ts'

const UNREADABLE = { code: 'Error', message: 'an error that cannot be read' }
const retry = { maxAttempts: 2, ...FAST }
const Input = z.object({ n: z.number() })
const sql = embedded()

beforeAll(openEmbedded, 120_000)
afterAll(closeEmbedded)

describe.each(HOSTILE_ERRORS)('%s', (_, make, isRead) => {
  test('can be described by every part', () => {
    const error = make()
    expect(() => {
      causesOf(error)
      sqlStateOf(error)
      show(error)
      errorType(error)
      isPermanent(error)
      new ConnectionEndReason().explain(error)
    }).not.toThrow()
    expect([hasCode(error, 'x'), isRetryable(error)]).toEqual([false, true])
    expect([isRefusal(error), isUnreadable(error)]).toEqual([false, false])
    expect([writeFault(error), writeOutcome(error), sqlUnavailable(error)]).toEqual([undefined, 'unknown', undefined])
    const { code, message } = describeError(error)
    expect([typeof code, typeof message, code === '']).toEqual(['string', 'string', false])
    if (!isRead) expect({ code, message }).toEqual(UNREADABLE)
    expect(failedEvent('a', 'invoke', 1, error)).toMatchObject({ type: 'failed', terminal: false, attempt: 1 })
  })

  test('leaves its line in the log', () => {
    const lines: string[] = []
    const say = ({ err }: Readonly<Record<string, unknown>>, message: string): void => {
      const { message: text, stack, name, cause } = err as Error
      lines.push(
        `${message} ${typeof text} ${typeof stack} ${typeof name} ${String((cause as Error | undefined)?.message)}`,
      )
    }
    const logger: Logger = { debug: say, info: say, warn: say, error: say }
    checkLogger('test', logger).warn({ err: make() ?? new Error() }, 'failed')
    expect(lines).toHaveLength(1)
    stderrLogger.error({ err: make() }, 'failed')
  })

  test('rolls back a transaction of PGlite, and the next one is clean', async () => {
    const error = make()
    const thrown = await sql
      .transaction(async (tx) => {
        await tx.query('CREATE TABLE of_hostile (n int)')
        throw error
      })
      .then(
        () => 'committed',
        (each: unknown) => (isRead ? each : toError(each).message),
      )
    expect(thrown).toBe(isRead ? error : UNREADABLE.message)
    await sql.transaction(async (tx) => void (await tx.query('CREATE TABLE of_hostile (n int)')))
    await sql.query('DROP TABLE of_hostile')
  })
})

const thrower = (make: () => unknown, calls: string[], name: string) => (): never => {
  calls.push(name)
  throw make()
}

type Fail = (given: unknown) => never
type Build = (name: string, fail: Fail) => Saga<unknown, unknown, object>

const begin = (name: string) => defineSaga(name, { version: 1, input: Input })
/** Functions of the user that a saga calls, each with the number of calls until the saga turns back. */
const PLACES: ReadonlyArray<readonly [place: string, calls: number, build: Build]> = [
  ['invoke', 2, (name, invoke) => begin(name).step('x', { invoke, compensate: 'none', retry })],
  [
    'transactional invoke',
    2,
    (name, invoke) => begin(name).step('x', { transactional: true, invoke, compensate: 'none', retry }),
  ],
  ['try', 2, (name, fail) => begin(name).tcc('x', { try: fail, confirm: () => {}, cancel: () => {}, retry })],
  ['request', 1, (name, request) => begin(name).command('x', { to: stockCommands, request, compensate: true, retry })],
  ['over', 1, (name, over) => begin(name).each('x', { over, invoke: () => 1, compensate: 'none' })],
]

describe('a saga whose function throws an unreadable value', () => {
  let world: World | undefined
  afterEach(async () => {
    await world?.close()
    world = undefined
  })
  /** Picks the thrown value by the number in the input. */
  const thrown = (n: number): (() => unknown) => HOSTILE_ERRORS[n]?.[1] ?? (() => new Error('?'))

  test('turns back with an attempt counted for each call', { timeout: 120_000 }, async () => {
    const calls: string[] = []
    const fails =
      (place: string) =>
      (given: unknown): never => {
        const { input, n } = given as { readonly input?: { readonly n: number }; readonly n?: number }
        calls.push(`${place} ${input?.n ?? n}`)
        throw thrown((input?.n ?? n) as number)()
      }
    const sagas = PLACES.map(([place, , build], n) => build(`s${n}`, fails(place)))
    const request = ({ input }: { readonly input: { readonly n: number } }) => ({ sku: 'x', n: input.n })
    const asked = begin('asked').command('x', { to: stockCommands, request, compensate: true, retry })
    world = await setupWorld({
      sagas: [...sagas, asked],
      sql,
      participantAttempts: 1,
      handlers: { invoke: fails('participant'), compensate: () => {} },
      coordinator: { logger: silentLogger },
    })
    await world.start()
    const places: ReadonlyArray<readonly [string, number, unknown]> = [
      ...PLACES.map(([place, count], n) => [place, count, sagas[n]] as const),
      ['participant', 2, asked],
    ]
    const runs = HOSTILE_ERRORS.flatMap(([what, , isRead], n) =>
      places.map(async ([place, count, saga]) => {
        const run = await (world as World).coordinator.start(saga as never, { id: `${n}`, input: { n } as never })
        const outcome = await run.outcome({ timeoutMs: 90_000 })
        const made = calls.filter((each) => each === `${place} ${n}`).length
        expect([what, place, outcome.status, made]).toEqual([what, place, 'compensated', count])
        if (!isRead) expect(outcome).toMatchObject({ failure: UNREADABLE })
      }),
    )
    await Promise.all(runs)
    expect(world.coordinator.health().status).toBe('up')
  })

  test('is stuck when that was a compensation', { timeout: 120_000 }, async () => {
    const calls: number[] = []
    const saga = begin('back')
      .step('a', {
        invoke: () => 1,
        compensate: ({ input: { n } }) => {
          calls.push(n)
          throw thrown(n)()
        },
        compensationRetry: { maxAttempts: 2, ...FAST },
      })
      .step('b', { invoke: () => Promise.reject(new Error('no')), compensate: 'none', retry: { maxAttempts: 1 } })
    world = await setupWorld({ sagas: [saga], sql, coordinator: { logger: silentLogger } })
    await world.start()
    await Promise.all(
      HOSTILE_ERRORS.map(async (_, n) => {
        const run = await (world as World).coordinator.start(saga, { id: `${n}`, input: { n } })
        expect((await run.outcome({ timeoutMs: 90_000 })).status).toBe('stuck')
        expect(calls.filter((each) => each === n)).toHaveLength(2)
      }),
    )
  })
})

describe.each(HOSTILE_ERRORS)('a binding whose handler throws %s', (_, make) => {
  const numbers = defineChannel('numbers', { payload: z.number(), groups: ['g'] })
  const outputs = defineChannel('outputs', { payload: z.number(), groups: ['g'] })
  const inbox = createInbox({ sql, schema: 'hostile' })
  beforeAll(() => inbox.migrate())
  const options = { group: 'g', maxAttempts: 2, backoff: FAST }
  const BINDINGS = [
    ['sink', (fail: () => never) => sink(numbers, options, fail)],
    ['processor', (fail: () => never) => processor(numbers, outputs, options, fail)],
    ['sink with an inbox', (fail: () => never) => sink(numbers, { ...options, inbox }, fail)],
    ['batch', (fail: () => never) => sinkBatch(numbers, { ...options, batch: { maxSize: 4 } }, fail)],
    [
      'batch with outcomes',
      (fail: () => never) =>
        sinkBatch(numbers, { ...options, batch: { maxSize: 4 } }, (items) =>
          items.map(() => {
            try {
              return fail()
            } catch (reason) {
              return { status: 'rejected', reason } as const
            }
          }),
        ),
    ],
    [
      'batch with an inbox',
      (fail: () => never) => sinkBatch(numbers, { ...options, inbox, batch: { maxSize: 4 } }, fail),
    ],
  ] as const

  test.each(BINDINGS)('calls the %s again, dead-letters the message and continues', async (_kind, bind) => {
    const calls: string[] = []
    const binding = bind(thrower(make, calls, 'handler'))
    const binder: Binder = createBinder({
      service: 'test',
      transport: memoryTransport(),
      bindings: [binding],
      sends: [numbers, outputs],
      logger: silentLogger,
    })
    onTestFinished(() => binder.close())
    await binder.start()
    await binder.send(numbers, 1)
    await until('it is a dead letter', () => binder.binding('numbers.g').status().deadLettered === 1)
    expect(calls).toHaveLength(2)
    expect(binder.binding('numbers.g').status().state).toBe('running')
  })

  test('polls a source again', async () => {
    let polls = 0
    const binder = createBinder({
      service: 'test',
      transport: memoryTransport(),
      bindings: [
        source(numbers, { everyMs: 1 }, () => {
          if (polls++ === 0) throw make()
          return 1
        }),
      ],
      logger: silentLogger,
    })
    onTestFinished(() => binder.close())
    await binder.start()
    await until('it has sent something', () => polls > 1)
  })
})
