// oxlint-disable no-restricted-imports -- inside of redlock: one server of the quorum
import { silentLogger } from 'concordat/core'
import { expect, test } from 'vitest'
import { type Identity, QuorumNode } from '../../../locks/redlock/node.ts'
import type { Round } from '../../../locks/redlock/round.ts'
import { drain, FakeClock } from '../../support/locks/fake-clock.ts'
import { FakeRedis } from '../../support/locks/fake-redis.ts'

const GRACE_MS = 30_000
const OLD = 5 * 86_400

const infoOf = (runId: string | undefined, uptimeS: number): string =>
  `${runId === undefined ? '' : `run_id:${runId}\r\n`}uptime_in_seconds:${uptimeS}\r\n`

async function setup(info: string) {
  const [clock, server] = [new FakeClock(), new FakeRedis(info)]
  const source = { name: 'a:6379', client: async () => server.client }
  const node = new QuorumNode(source, { answerMs: 50, graceMs: GRACE_MS, clock, logger: silentLogger })
  await node.open(50)
  /** Whether the server is barred from votes, on its present connection. */
  const isBarred = async (): Promise<boolean> => {
    const identity = await new Promise<Identity>((resolve) => {
      node.whoIsThere({ awaits: () => true } as unknown as Round, 0, resolve)
    })
    return node.bar(identity) !== undefined
  }
  const connectTo = async (now: string): Promise<void> => {
    server.info = now
    server.reconnect()
    await drain()
  }
  return { clock, isBarred, connectTo }
}

test('a server that replaced another stays barred when its connection breaks within the grace', async () => {
  const { clock, isBarred, connectTo } = await setup(infoOf('m1', OLD))
  expect(await isBarred()).toBe(false)
  await connectTo(infoOf('m2', OLD))
  expect(await isBarred()).toBe(true)
  await clock.advance(GRACE_MS / 2)
  await connectTo(infoOf('m2', OLD + 15))
  expect(await isBarred()).toBe(true)
  await clock.advance(GRACE_MS / 2)
  expect(await isBarred()).toBe(false)
  await connectTo(infoOf('m2', OLD + 31))
  expect(await isBarred()).toBe(false)
})

test('a server is barred that follows one without a run id', async () => {
  const { isBarred, connectTo } = await setup(infoOf(undefined, OLD))
  expect(await isBarred()).toBe(false)
  await connectTo(infoOf('m2', OLD))
  expect(await isBarred()).toBe(true)
})
