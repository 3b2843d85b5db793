import { defineChannel } from 'concordat/binder'
import { memoryTransport } from 'concordat/memory'
import { defineSaga, participant } from 'concordat/saga'
import { createService } from 'concordat/service'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { LogLines } from '../../support/log-lines.ts'
import { serverError } from '../../support/refusing-sql.ts'
import { until } from '../../support/until.ts'
import { closeEmbedded, embedded, openEmbedded } from '../support/world.ts'

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
