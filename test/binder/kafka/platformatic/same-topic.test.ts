import { SECOND, systemClock } from 'concordat/core'
import { describe, it } from 'vitest'
import { GroupSession, KafkaRefusal, RecreatedTopicCheck } from '../inside.ts'
import { ScriptedCluster } from './scripted-cluster.ts'

const UNKNOWN = 'UNKNOWN_TOPIC_OR_PARTITION'

/** A broker with one topic and one group, which is `deleted` and `made` as the test says. */
function setup(committed: ReadonlyArray<readonly [number, number]> = []) {
  const group = new Map(committed)
  const state = { isThere: true, remade: 0 }
  const requireTopic = (): void => {
    if (!state.isThere) throw new KafkaRefusal(UNKNOWN, 'it is not there')
  }
  const same = new RecreatedTopicCheck({
    topic: async () => requireTopic(),
    committed: async (partitions) => new Map([...group].filter(([partition]) => partitions.includes(partition))),
    committer: () => async (positions) => {
      requireTopic()
      for (const [partition, position] of positions) group.set(partition, position)
    },
    onRemade: () => void state.remade++,
  })
  const deleted = (): void => {
    state.isThere = false
    group.clear()
  }
  const made = (): void => void (state.isThere = true)
  return { same, group, state, deleted, made }
}

describe('a topic that was not known for a while', () => {
  it('is the same while the group stands in it', async ({ expect }) => {
    const { same, state, group } = setup([[0, 10]])
    same.begin([0])
    same.doubt()
    expect(await same.isSame()).toBe(true)
    await same.commit(new Map([[0, 11]]))
    expect([state.remade, group]).toEqual([0, new Map([[0, 11]])])
  })

  it('is another one when the group’s commits are gone', async ({ expect }) => {
    const { same, state, deleted, made } = setup()
    same.begin([])
    await same.commit(new Map([[1, 10]]))
    deleted()
    made()
    same.doubt()
    expect(await Promise.all([same.isSame(), same.isSame()])).toEqual([false, false])
    expect(state.remade).toBe(1)
  })

  it('is treated as the same by a group without commits', async ({ expect }) => {
    const { same, state } = setup()
    same.doubt()
    expect(await same.isSame()).toBe(true)
    expect(state.remade).toBe(0)
  })

  it('gets no position of the topic before it, whichever client notices first', async ({ expect }) => {
    for (const hears of ['the fetch', 'the commit']) {
      const { same, state, group, deleted, made } = setup([[0, 10]])
      same.begin([0])
      deleted()
      if (hears === 'the fetch') same.doubt()
      for (let attempt = 1; attempt <= 2; attempt++)
        await expect(same.commit(new Map([[0, 12]]))).rejects.toMatchObject({ type: UNKNOWN })
      expect(state.remade).toBe(0)
      made()
      await expect(same.commit(new Map([[0, 12]]))).rejects.toThrow('the topic was deleted and made again')
      expect([state.remade, group]).toEqual([1, new Map()])
    }
  })
})

it('positions that wait while a topic is looked at are not committed under a later generation', async ({ expect }) => {
  const { cluster, group } = new ScriptedCluster([12], [])
  const times = { sessionTimeoutMs: SECOND, heartbeatIntervalMs: SECOND, rebalanceTimeoutMs: SECOND }
  const spec = { groupId: 'g', topic: 't', ...times, requestTimeoutMs: SECOND }
  const session = new GroupSession(spec, cluster, systemClock)
  const served = async <T>(asking: Promise<T>): Promise<T> => {
    let isOver = false
    const over = (): void => void (isOver = true)
    asking.then(over, over)
    while (!isOver) {
      group.serve()
      group.read()
      await new Promise((resolve) => setImmediate(resolve))
    }
    return asking
  }
  const looked = Promise.withResolvers<void>()
  const same = new RecreatedTopicCheck({
    topic: () => looked.promise,
    committed: async () => new Map(),
    committer: () => session.committer(),
    onRemade: () => {},
  })
  await served(session.join(() => {}))
  same.doubt()
  const committing = same.commit(new Map([[0, 3]]))
  await served(session.join(() => {}))
  group.committed[0] = 10
  looked.resolve()
  await expect(served(committing)).rejects.toMatchObject({ type: 'ILLEGAL_GENERATION' })
  expect(group.committed).toEqual([10])
  await served(same.commit(new Map([[0, 11]])))
  expect(group.committed).toEqual([11])
})
