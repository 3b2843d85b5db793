import { createMembership, createSharedState } from 'concordat/cluster'
import { memoryStateServer, memoryStateStore } from 'concordat/memory'
import { describe, expect, it } from 'vitest'

const closed = { code: 'cluster.closed' }

describe('a store that is closed before its users', () => {
  it('ends a watch of a state that begins then, instead of leaving it to wait forever', async () => {
    const store = memoryStateStore()
    const state = createSharedState<number>({ store, name: 's' })
    await store.close()
    await expect(state.events().next()).rejects.toMatchObject(closed)
    await state.close()
  })

  it('ends a watch that is reading missed changes', async () => {
    const server = memoryStateServer()
    const store = memoryStateStore({ server })
    const state = createSharedState<number>({ store, name: 's' })
    const { version } = await state.put('k', 1)
    await state.mirror()
    const events = state.events({ after: version })
    await store.close()
    await expect(events.next()).rejects.toMatchObject(closed)
    await state.close()
  })

  it('ends a watch of a membership that begins then', async () => {
    const store = memoryStateStore()
    const membership = createMembership({ store, cluster: 'c', service: 'orders', instance: 'a' })
    await store.close()
    await expect(membership.events().next()).rejects.toMatchObject(closed)
    await membership.close()
  })
})
