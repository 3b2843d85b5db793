import { AsyncLocalStorage } from 'node:async_hooks'
import { defineChannel } from 'concordat/binder'
import { pgliteClient } from 'concordat/core/pglite'
import { currentLease, leaseHeaders } from 'concordat/locks'
import { memoryLocks, memoryTransport } from 'concordat/memory'
import { defineSaga, participant } from 'concordat/saga'
import { createService } from 'concordat/service'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { uniqueName } from '../../outbox/support/messages.ts'
import { freshPglite } from '../../support/pglite.ts'

const database = freshPglite()
const sql = pgliteClient(database)
beforeAll(() => database.waitReady, 180_000)
afterAll(() => database.close())

const commands = defineChannel('stock.commands', { payload: z.object({ n: z.number() }) })

test('no step and no command carries the context or the lock of its caller', async () => {
  const caller = new AsyncLocalStorage<string>()
  const seen: Array<readonly [string, unknown, unknown]> = []
  const look = (where: string): void => void seen.push([where, caller.getStore(), currentLease()?.key])
  const carried: unknown[] = []
  const saga = defineSaga('move', { version: 1, input: z.object({ n: z.number() }) })
    .command('first', { to: commands, request: ({ input }) => input, compensate: 'none' })
    .step('second', { invoke: () => look('second'), compensate: 'none' })
    .command('third', { to: commands, request: ({ input }) => input, compensate: 'none' })
    .step('fourth', { invoke: () => look('fourth'), compensate: 'none' })
  const stock = participant(
    commands,
    { group: 'stock' },
    {
      invoke: (_, { message }) => void carried.push(message.headers['lock-key']),
      compensate: () => {},
    },
  )
  const service = createService({
    name: 'shop',
    schema: uniqueName('caller'),
    sql,
    transport: memoryTransport(),
    sagas: [saga],
    bindings: [stock],
    parts: { coordinator: { headers: () => leaseHeaders() } },
  })
  const locks = memoryLocks()
  await service.start()
  const run = await locks.using('stock/1', {}, () =>
    caller.run('the caller', () => service.run(saga, { id: 'a', input: { n: 1 } })),
  )
  expect(await run.outcome()).toMatchObject({ status: 'completed' })
  expect(seen).toEqual([
    ['second', undefined, undefined],
    ['fourth', undefined, undefined],
  ])
  expect(carried).toEqual([undefined, undefined])
  await service.close()
  await locks.close()
})
