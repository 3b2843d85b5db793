import { MINUTE } from 'concordat/core'
import { expect, it } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- inside of the adapter
import type { KafkaConnection } from '../../../../../binder/kafka/platformatic/connection-types.ts'
// oxlint-disable-next-line no-restricted-imports -- inside of the adapter
import { Cluster } from '../../../../../binder/kafka/platformatic/network/cluster.ts'
// oxlint-disable-next-line no-restricted-imports -- inside of the adapter
import type { Request } from '../../../../../binder/kafka/platformatic/protocol/request-codec.ts'
import { drain, FakeClock } from '../../../../support/locks/fake-clock.ts'

type Answer = (error: Error | null, answer: readonly Buffer[]) => void

/** A broker that answers when the test says so. */
function setup() {
  const clock = new FakeClock()
  const state = { opened: 0, closed: 0, waiting: [] as Answer[] }
  const makeConnection = (): KafkaConnection => {
    let isConnected = false
    return {
      connect: () => {
        state.opened++
        isConnected = true
      },
      isConnected: () => isConnected,
      close: () => {
        if (isConnected) state.closed++
        isConnected = false
      },
      send: (...[, , , , , , callback]) => void state.waiting.push(callback),
      on: () => {},
      socket: undefined,
    }
  }
  const bootstrap = [{ host: 'broker', port: 9092 }]
  const cluster = new Cluster(
    { makeConnection, bootstrap, connectTimeoutMs: 1_000, requestTimeoutMs: 30 * MINUTE },
    clock,
  )
  const request = {
    name: 'Ask',
    apiKey: 0,
    apiVersion: 0,
    size: 8,
    write: () => {},
    read: () => 'answer',
  } as unknown as Request<string>
  const ask = async (): Promise<Promise<string>[]> => {
    const asked = cluster.any(request)
    await drain()
    return [asked]
  }
  const answerAll = (): void => {
    for (const answer of state.waiting.splice(0)) answer(null, [])
  }
  return { clock, state, cluster, ask, answerAll }
}

it('a connection that was idle for 3 minutes is replaced before the next request', async () => {
  const { clock, state, cluster, ask, answerAll } = setup()
  const [first] = await ask()
  answerAll()
  await first
  await clock.advance(3 * MINUTE - 1)
  const [second] = await ask()
  answerAll()
  await second
  expect(state).toMatchObject({ opened: 1, closed: 0 })

  await clock.advance(3 * MINUTE)
  const [third] = await ask()
  answerAll()
  expect(await third).toBe('answer')
  expect(state).toMatchObject({ opened: 2, closed: 1 })
  cluster.close()
})

it('a connection with a request that waits for its answer is not idle', async () => {
  const { clock, state, cluster, ask, answerAll } = setup()
  const [first] = await ask()
  await clock.advance(4 * MINUTE)
  const [second] = await ask()
  answerAll()
  expect(await Promise.all([first, second])).toEqual(['answer', 'answer'])
  expect(state).toMatchObject({ opened: 1, closed: 0 })
  cluster.close()
})
