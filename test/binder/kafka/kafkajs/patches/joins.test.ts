import { expect, it } from 'vitest'
import { Joins } from '../../inside.ts'

/** A coordinator whose joins and shares are answered on command. */
function setup() {
  const asked: Array<{ readonly what: 'join' | 'share'; readonly answer: PromiseWithResolvers<void> }> = []
  const ask = (what: 'join' | 'share'): Promise<void> => {
    const answer = Promise.withResolvers<void>()
    asked.push({ what, answer })
    return answer.promise
  }
  const coordinator = { joinGroup: () => ask('join'), syncGroup: () => ask('share'), heartbeat: async () => {} }
  const cluster = {
    findGroupCoordinator: async () => coordinator,
    refreshMetadata: async () => {},
    getNodeIds: () => [1, 2, 3],
  }
  const joins = new Joins(() => {})
  joins.watch(cluster as never)
  /** Makes the calls of a join in the order of kafkajs. */
  const join = async (): Promise<void> => {
    const found = await cluster.findGroupCoordinator()
    await found.joinGroup()
    await found.syncGroup()
    joins.joined()
  }
  const answer = async (error?: Error): Promise<void> => {
    const { answer } = asked.shift() as (typeof asked)[number]
    if (error === undefined) answer.resolve()
    else answer.reject(error)
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { asked, cluster, join, answer }
}

it('of three joins each waits for the one before, also when that fails', async () => {
  const { asked, join, answer } = setup()
  const first = join()
  const second = join()
  const third = join()
  second.catch(() => {})
  await new Promise((resolve) => setImmediate(resolve))
  for (const what of ['join', 'share'] as const) {
    expect(asked.map((each) => each.what)).toEqual([what])
    await answer()
  }
  await first
  expect(asked.map((each) => each.what)).toEqual(['join'])
  await answer(new Error('the connection ended'))
  await expect(second).rejects.toThrow('the connection ended')
  for (const what of ['join', 'share'] as const) {
    expect(asked.map((each) => each.what)).toEqual([what])
    await answer()
  }
  await third
})

it('a join that is broken off between two calls has failed, and the next one begins', async () => {
  const { asked, cluster, join, answer } = setup()
  const broken = cluster.findGroupCoordinator().then((found) => found.joinGroup())
  const next = join()
  await new Promise((resolve) => setImmediate(resolve))
  await answer()
  await broken
  await new Promise((resolve) => setImmediate(resolve))
  expect(asked.map((each) => each.what)).toEqual(['join'])
  await answer()
  await answer()
  await next
})

it('after a failed join each round of fetches fails with a rebalance, until a join is complete', async () => {
  const { cluster, join, answer } = setup()
  const failing = join().catch(() => {})
  await new Promise((resolve) => setImmediate(resolve))
  await answer()
  await answer(new Error('the coordinator is loading the group'))
  await failing
  expect(() => cluster.getNodeIds()).toThrow('the group was not joined')
  const joining = join()
  await new Promise((resolve) => setImmediate(resolve))
  await answer()
  await answer()
  await joining
  expect(cluster.getNodeIds()).toEqual([1, 2, 3])
})
