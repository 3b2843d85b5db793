import { defineChannel, type SinkBinding } from 'concordat/binder'
import { defineSaga, type Saga } from 'concordat/saga'
import type { Coordinator } from 'concordat/saga/coordinator'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { LogLines } from '../../support/log-lines.ts'
import { deliver } from '../support/delivery.ts'
import { interposing } from '../support/interposing.ts'
import { runningWorlds } from '../support/running-world.ts'
import { embedded, type World } from '../support/world.ts'

const within = { timeoutMs: 10_000 }
const setup = runningWorlds()
const payments = defineChannel('payments', { payload: z.object({ order: z.string() }) })

const paidBy = (missing: 'ignore' | 'retry' | 'dead-letter') =>
  defineSaga('paid', { version: 1, input: z.object({}) }).signal('payment', {
    from: payments,
    correlate: ({ order }) => order,
    missing,
  })
const asked = defineSaga('asked', { version: 1, input: z.object({}) }).signal('answer', { payload: z.string() })
const otherVersion = defineSaga('asked', { version: 2, input: z.object({}) }).signal('answer', { payload: z.string() })

/** More than a signal takes. */
const STATEMENTS = [0, 1, 2, 3, 4]

interface Sender {
  readonly world: World
  readonly sender: Coordinator
  /** Starts the saga before the n-th statement of the sender that has its id. */
  readonly startsAt: (n: number, start: () => Promise<unknown>) => void
  readonly started: () => boolean
}

async function setupSender(saga: Saga, loaded: Saga = saga, log = new LogLines()): Promise<Sender> {
  const world = await setup({ sagas: [saga] })
  const database = interposing(embedded())
  const sender = world.another({ sql: database.sql, sagas: [loaded], logger: log.logger })
  return {
    world,
    sender,
    startsAt: (n, start) => database.before(n, 'x', start),
    started: () => database.happened,
  }
}

describe('a signal whose saga is started at the same time', () => {
  test.each(STATEMENTS)('is heard or finds no saga: the start commits before its statement %i', async (n) => {
    const { world, sender, startsAt, started } = await setupSender(asked)
    startsAt(n, () => world.coordinator.start(asked, { id: 'x', input: {} }))
    const send = () => sender.signal(asked, 'x', 'answer', 'yes')
    const told = await send().catch((error: { code?: string }) => error.code)
    if (!started()) await world.coordinator.start(asked, { id: 'x', input: {} })
    if (told === 'saga.not_found') expect(await send()).toBe(true)
    else expect(told).toBe(true)
    expect((await world.coordinator.get(asked, 'x').outcome(within)).status).toBe('completed')
  })

  test.each(STATEMENTS)('is kept or finds no saga where its version is not loaded, statement %i', async (n) => {
    const { world, sender, startsAt, started } = await setupSender(asked, otherVersion)
    startsAt(n, () => world.coordinator.start(asked, { id: 'x', input: {} }))
    const send = () => sender.signal(otherVersion, 'x', 'answer', 'yes')
    const told = await send().catch((error: { code?: string }) => error.code)
    if (!started()) await world.coordinator.start(asked, { id: 'x', input: {} })
    if (told === 'saga.not_found') expect(await send()).toBe(true)
    else expect(told).toBe(true)
    expect((await world.coordinator.get(asked, 'x').outcome(within)).status).toBe('completed')
  })

  test.each(
    (['ignore', 'retry', 'dead-letter'] as const).flatMap((missing) => STATEMENTS.map((n) => ({ missing, n }))),
  )('and that is a message counts as one, or as one without a saga: $missing, statement $n', async ({ missing, n }) => {
    const saga = paidBy(missing)
    const log = new LogLines()
    const { world, sender, startsAt, started } = await setupSender(saga, saga, log)
    startsAt(n, () => world.coordinator.start(saga, { id: 'x', input: {} }))
    const send = () => deliver(sender.bindings[1] as SinkBinding, { order: 'x' }, {}, 1)
    const first = await Promise.allSettled([send()])
    if (!started()) await world.coordinator.start(saga, { id: 'x', input: {} })
    if (log.text.includes('message for a saga that does not exist')) {
      expect(first[0].status).toBe(missing === 'ignore' ? 'fulfilled' : 'rejected')
      await send()
    }
    expect((await world.coordinator.get(saga, 'x').outcome(within)).status).toBe('completed')
  })
})

test.each(STATEMENTS)(
  'an action on a saga that is started before its statement %i applies or finds none',
  async (n) => {
    const { world, sender, startsAt, started } = await setupSender(asked)
    startsAt(n, () => world.coordinator.start(asked, { id: 'x', input: {} }))
    const cancel = () => sender.cancel({ saga: 'asked', id: 'x' }, { by: 'ann', reason: 'too late' })
    const told = await cancel().catch((error: { code?: string }) => error.code)
    if (!started()) await world.coordinator.start(asked, { id: 'x', input: {} })
    expect([undefined, 'saga.not_found']).toContain(told)
    if (told !== undefined) await cancel()
    expect((await world.coordinator.get(asked, 'x').outcome(within)).status).toBe('compensated')
  },
)
