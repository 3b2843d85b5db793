/** An operator resolves a stuck sub-saga in which the order of its parent to undo it still waits. */
import { createOperator } from '@concordat/cli'
import { defineSaga } from 'concordat/saga'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { runningWorlds } from '../saga/support/running-world.ts'

const setup = runningWorlds()
const note = { by: 'ann', reason: 'settled by hand' }
const Nothing = z.object({})

test.each(['compensated', 'completed'] as const)(
  'a parent that turned back ends after its stuck sub-saga is resolved as %s before it takes the order to undo',
  async (outcome) => {
    const child = defineSaga('child', { version: 1, input: Nothing }).forward((block) =>
      block.step('work', {
        retry: { maxAttempts: 1 },
        invoke: () => Promise.reject(new Error('no')),
        compensate: 'none',
      }),
    )
    const parent = defineSaga('parent', { version: 1, input: Nothing }).saga('sub', {
      saga: child,
      input: () => ({}),
      compensate: true,
    })
    const { coordinator, sql, outbox, another } = await setup({ sagas: [parent] })
    const run = await coordinator.start(parent, { id: 'p', input: {} })
    const stuck = { saga: 'child', id: 'parent/p/sub' }
    const childStatus = async () => (await coordinator.report(stuck).catch(() => undefined))?.status
    await expect.poll(childStatus, { timeout: 10_000 }).toBe('stuck')
    await coordinator.close()
    // The coordinator never runs, as if its process had died right after the commit.
    await another().cancel(run, note)

    const { sagas } = createOperator({ sql, schema: outbox.schema })
    expect(await sagas.resolve(stuck, { ...note, outcome })).toMatchObject({ outcome: 'applied', status: outcome })
    const next = another()
    await next.run()
    expect((await next.get(parent, 'p').outcome({ timeoutMs: 10_000 })).status).toBe('compensated')
    expect(await next.report(stuck)).toMatchObject({ status: 'compensated' })
    await next.close()
  },
)
