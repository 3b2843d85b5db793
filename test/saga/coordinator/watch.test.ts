// oxlint-disable no-restricted-imports -- inside of the coordinator: through it the turns of the event loop are not ours
import { silentLogger, systemClock } from 'concordat/core'
import { expect, test } from 'vitest'
import { Watch } from '../../../saga/coordinator/watch.ts'
import type { SagaKey } from '../../../saga/store/rows.ts'
import type { SagaStore } from '../../../saga/store/store.ts'

/** A watch over sagas that have all ended, as another instance wrote it. */
function setup(settled = async (keys: readonly SagaKey[]) => keys): Watch {
  const store = { settled: (_sql: unknown, keys: readonly SagaKey[]) => settled(keys) } as unknown as SagaStore
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

test('a saga that the database cannot be asked for is rejected, and keeps nobody from hearing of the others', async () => {
  const untranslatable = Object.assign(new Error('character has no equivalent'), { code: '22P05' })
  const watch = setup(async (keys) => {
    if (keys.some(({ id }) => id === 'bad')) throw untranslatable
    return keys
  })
  const wait = (id: string) => watch.wait({ name: 'saga', id }, watch.patience({ timeoutMs: 5_000 }))
  const [bad, good] = await Promise.allSettled([wait('bad'), wait('good')])
  expect(bad).toEqual({ status: 'rejected', reason: untranslatable })
  expect(good.status).toBe('fulfilled')
  watch.close()
})
