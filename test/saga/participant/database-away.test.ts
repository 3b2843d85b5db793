import { defineChannel } from 'concordat/binder'
import { memoryTransport } from 'concordat/memory'
import { defineSaga, localTarget, migrateParticipant, participant } from 'concordat/saga'
import { httpParticipants, httpTarget } from 'concordat/saga/http'
import { createService } from 'concordat/service'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { LogLines } from '../../support/log-lines.ts'
import { serverError } from '../../support/refusing-sql.ts'
import { until } from '../../support/until.ts'
import { closeEmbedded, embedded, FAST, openEmbedded } from '../support/world.ts'

beforeAll(openEmbedded, 120_000)
afterAll(closeEmbedded)

test('a participant whose handler uses another database that is down waits, and reports why in health and in the log', async () => {
  let isAway = true
  const input = z.object({})
  const commands = defineChannel('stars.commands', { payload: input, groups: ['stars'] })
  const saga = defineSaga('look', { version: 1, input }).command('ask', {
    to: commands,
    request: () => ({}),
    compensate: 'none',
  })
  const log = new LogLines()
  const attempts: number[] = []
  const service = createService({
    name: 'stars',
    schema: 'stars',
    sql: embedded(),
    transport: memoryTransport(),
    sagas: [saga],
    logger: log.logger,
    bindings: [
      participant(
        commands,
        { group: 'stars' },
        {
          invoke: (_, { message }) => {
            attempts.push(message.attempt)
            if (isAway) throw serverError('57P03', 'the other database is starting up')
          },
          compensate: () => undefined,
        },
      ),
    ],
  })
  onTestFinished(() => service.close())
  await service.start()
  const run = await service.run(saga, { id: 'a', input: {} })
  await until('it is told', () => !service.health().ready, 15_000)
  expect(service.binder.bindings()[0]).toMatchObject({
    state: 'connecting',
    error: expect.stringContaining('the other database is starting up'),
  })
  const said = log.lines.map(({ message }) => message)
  expect(said).toContain('the database was away in the handler, which is no attempt')
  expect(said.filter((message) => message === 'part of the binding stands still')).toHaveLength(1)
  isAway = false
  expect((await run.outcome({ timeoutMs: 20_000 })).status).toBe('completed')
  expect(new Set(attempts)).toEqual(new Set([1]))
  await until('it is ready again', () => service.health().ready)
})

test.each(['localTarget', 'httpTarget'] as const)(
  'a participant by %s whose handler uses another database that is down is asked again, and no attempt is counted',
  async (way) => {
    const schema = `stars_${way.toLowerCase()}`
    const input = z.object({})
    const commands = defineChannel('stars.commands', { payload: input, groups: ['stars'] })
    let calls = 0
    const side = participant(
      commands,
      { group: 'stars' },
      {
        invoke: () => {
          if (++calls < 6) throw serverError('57P03', 'the other database is starting up')
        },
        compensate: () => undefined,
      },
    )
    const sql = embedded()
    await migrateParticipant(sql, schema)
    const serve = httpParticipants([side], { sql, schema, authorize: 'none' })
    const to =
      way === 'localTarget'
        ? localTarget(commands, side, { sql, schema, retry: FAST })
        : httpTarget(commands, {
            url: 'http://stars.test',
            retry: FAST,
            // Without the pause of a second that the other side asks for.
            fetch: async (url, init) => {
              const { status, body } = await serve(new Request(url, init))
              return new Response(body, { status })
            },
          })
    const retry = { maxAttempts: 1, ...FAST }
    const saga = defineSaga('look', { version: 1, input }).command('ask', {
      to,
      request: () => ({}),
      compensate: true,
      retry,
    })
    const logger = new LogLines().logger
    const service = createService({ name: 'stars', schema, sql, transport: memoryTransport(), sagas: [saga], logger })
    onTestFinished(() => service.close())
    await service.start()
    const run = await service.run(saga, { id: 'a', input: {} })
    expect(await run.outcome({ timeoutMs: 20_000 })).toMatchObject({ status: 'completed' })
    expect(calls).toBe(6)
  },
)
