// oxlint-disable no-restricted-imports -- inside of the coordinator: what health says in the middle of a busy spell
import { silentLogger, systemClock } from 'concordat/core'
import { expect, test } from 'vitest'
import { DueSagaPoller } from '../../../saga/coordinator/due-saga-poller.ts'

test('the sweeper is healthy again with the first successful poll, also when there is more to take', async () => {
  const errors: Array<string | undefined> = []
  const busy = Promise.withResolvers<void>()
  const runtime = { clock: systemClock, logger: silentLogger, pollMs: 1 }
  const sweeper = new DueSagaPoller(runtime, {
    sweep: async () => {
      errors.push(sweeper.lastError?.message)
      if (errors.length === 1) throw new Error('away')
      if (errors.length === 3) busy.resolve()
      return errors.length === 2
    },
    nextDueMs: async () => undefined,
  })
  sweeper.start()
  await busy.promise
  await sweeper.stop()
  expect(errors.slice(0, 3)).toEqual([undefined, 'away', undefined])
})
