// oxlint-disable no-restricted-imports -- inside of the coordinator: through it the turns of the event loop are not ours
import { silentLogger, systemClock } from 'concordat/core'
import { expect, test } from 'vitest'
import { Watch } from '../../../saga/coordinator/watch.ts'
import type { SagaKey } from '../../../saga/store/rows.ts'
import type { SagaStore } from '../../../saga/store/store.ts'

/** A watch over sagas that have all ended, as another instance wrote it. */
function setup(): Watch {
  const store = { settled: async (_sql: unknown, keys: readonly SagaKey[]) => keys } as unknown as SagaStore
  const sql = {
    query: () => Promise.reject(new Error('not asked')),
    transaction: () => Promise.reject(new Error('not asked')),
  }
  return new Watch({ sql, store, clock: systemClock, logger: silentLogger, pollMs: 10 })
}

test.concurrent.each(Array.from({ length: 12 }, (_, turns) => turns))(
  'sees the end for whoever begins to wait %i turns after nobody did',
  async (turns) => {
    const watch = setup()
    await watch.wait({ name: 'saga', id: 'first' })
    for (let i = 0; i < turns; i++) await Promise.resolve()
    await expect(
      watch.wait({ name: 'saga', id: 'second' }, watch.patience({ timeoutMs: 500 })),
    ).resolves.toBeUndefined()
    watch.close()
  },
)
