import { createOperator } from '@concordat/cli'
import { createBinder } from 'concordat/binder'
import { createElection } from 'concordat/election'
import { memoryBroker, memoryLocks, memoryTransport } from 'concordat/memory'
import { createOutbox } from 'concordat/outbox'
import { defineSaga } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { createService } from 'concordat/service'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
// oxlint-disable-next-line no-restricted-imports -- for processes of the command line alone
import { readDeclarationsOnly } from '../../core/declarations-only.ts'

const never = (): never => {
  throw new Error('nothing of it runs')
}
const refused = { code: 'core.reads_declarations', retryable: false }
const sql = { query: never, transaction: never }

describe('in a process that reads declarations', () => {
  beforeEach(readDeclarationsOnly)
  afterEach(() => Reflect.deleteProperty(globalThis, Symbol.for('concordat.reads-declarations')))

  test('no service starts, but it can be closed', async () => {
    const service = createService({ name: 'shop', transport: memoryTransport() })
    await expect(service.start()).rejects.toMatchObject(refused)
    await service.close()
  })

  test('no binder starts', async () => {
    const binder = createBinder({ service: 'shop', transport: memoryTransport() })
    await expect(binder.start()).rejects.toMatchObject(refused)
    await binder.close()
  })

  test('an operator joins the bus anyway: the console shows instances beside a module’s declarations', async () => {
    const broker = memoryBroker()
    const bus = { channel: 'ops' }
    const operator = createOperator({ sql, transport: () => memoryTransport({ broker }), bus })
    expect(await operator.bus.members({ listenMs: 1 })).toEqual([])
    const binder = createBinder({ service: 'shop', transport: memoryTransport() })
    await expect(binder.start()).rejects.toMatchObject(refused)
    await binder.close()
  })

  test('no coordinator runs', async () => {
    const saga = defineSaga('buy', { version: 1, input: z.object({}) }).step('pay', { invoke: never, pivot: true })
    const outbox = createOutbox({ sql, service: 'shop' })
    const coordinator = createCoordinator({ service: 'shop', sql, outbox, sagas: [saga] })
    await expect(coordinator.run()).rejects.toMatchObject(refused)
    await coordinator.close()
  })

  test('no candidate stands for election', async () => {
    const locks = memoryLocks()
    const election = createElection({ locks, role: 'settlement', onGranted: never })
    expect(() => election.start()).toThrow('election "settlement".start was called while declarations are read')
    await election.close()
    await locks.close()
  })
})

test('in any other process they start', async () => {
  const service = createService({ name: 'shop', transport: memoryTransport() })
  await service.start()
  await service.close()
})
