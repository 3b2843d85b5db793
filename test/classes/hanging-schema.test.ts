/** A schema that never answers holds up its own saga, and no other saga that is due. The time is a simulated world's. */

import { type SimulationOptions, simulate } from '@concordat/simulator'
import type { SqlClient } from 'concordat/core'
import { createOutbox } from 'concordat/outbox'
import { defineSaga } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { freshPglite } from '../support/pglite.ts'

const None = z.object({})
const SOON_MS = 500
/** The timer fires and both sagas are due at about the same time. */
const WITHIN_MS = SOON_MS + 1_000
const HEALTHY = 10

const define = (name: string, validate: () => boolean | Promise<boolean>) =>
  defineSaga(name, { version: 1, input: None.refine(validate) })
    .timer('soon', { delay: SOON_MS })
    .timer('after', { delay: ({ input }) => Object.keys(input).length })

function coordinatorOn(sql: SqlClient, hangs: () => boolean) {
  const hanging = define('hanging', () => (hangs() ? new Promise<never>(() => {}) : true))
  const healthy = define('healthy', () => true)
  const outbox = createOutbox({ sql, service: 'admin', partitions: 1 })
  const coordinator = createCoordinator({ service: 'admin', sql, outbox, sagas: [hanging, healthy], leaseMs: 30_000 })
  return { coordinator, outbox, hanging, healthy }
}

test('ten due sagas end within a second beside a saga whose schema never answers', { timeout: 180_000 }, async () => {
  const pglite = freshPglite()
  onTestFinished(() => pglite.close())
  const ended: number[] = []
  const start: SimulationOptions['services'][string]['start'] = async (instance) => {
    let hangs = false
    const { coordinator, hanging, healthy } = coordinatorOn(instance.sql('home'), () => hangs)
    await coordinator.run()
    await coordinator.start(hanging, { id: 'h', input: {} })
    hangs = true
    const startedAt = performance.now()
    for (let n = 0; n < HEALTHY; n++) {
      const run = await coordinator.start(healthy, { id: `${n}`, input: {} })
      void run.outcome().then(() => ended.push(performance.now() - startedAt))
    }
  }
  await simulate({
    services: { admin: { instances: 1, start } },
    databases: {
      home: {
        pglite,
        prepare: async (sql) => {
          const { coordinator, outbox } = coordinatorOn(sql, () => false)
          await outbox.migrate()
          await coordinator.migrate()
        },
      },
    },
    workload: ({ sleep }) => sleep(2 * WITHIN_MS),
    invariants: {
      'all healthy sagas have ended in time': () => {
        expect(ended).toHaveLength(HEALTHY)
        expect(Math.max(...ended)).toBeLessThan(WITHIN_MS)
      },
    },
    seeds: 1,
    faults: [],
    shorten: false,
  })
})
