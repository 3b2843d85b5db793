// oxlint-disable no-restricted-imports -- what a service starts by itself: it has no public name

import { silentLogger, systemClock } from 'concordat/core'
import { expect, it, test } from 'vitest'
import { nextGid } from '../../../saga/xa/gid.ts'
import { keyOf, PreparedWatch, remedyOf } from '../../../saga/xa/old-prepared-watch.ts'
import type { PreparedTransaction } from '../../support/inside/saga.ts'
import { FakeClock } from '../../support/locks/fake-clock.ts'
import { LogLines } from '../../support/log-lines.ts'

const GID = 'concordat:0123456789012345678901:1:transfer/t-1/withdraw'
const OLD: PreparedTransaction = { gid: GID, ageMs: 400_000, key: 'transfer/t-1/withdraw' }

/** Two sources: the first one answers on the test's command, the second one at once. */
function setup(second: readonly PreparedTransaction[] = []) {
  const clock = new FakeClock()
  const log = new LogLines()
  const asked: Array<PromiseWithResolvers<readonly PreparedTransaction[]>> = []
  const first = () => {
    asked.push(Promise.withResolvers())
    return asked.at(-1)?.promise ?? []
  }
  const watch = new PreparedWatch({
    sources: [{ old: async () => first() }, { old: async () => second }],
    clock,
    logger: log.logger,
    olderThanMs: 300_000,
  })
  const answer = async (found: readonly PreparedTransaction[]) => {
    asked.at(-1)?.resolve(found)
    await clock.advance(0)
  }
  return { clock, log, watch, asked, answer }
}

it('the watch of prepared transactions is down, without an unhandled rejection, while a resource throws', async () => {
  let answer = (): Promise<readonly PreparedTransaction[]> => {
    throw new TypeError('no such method')
  }
  const source = { old: () => answer() }
  const watch = new PreparedWatch({
    sources: [source],
    clock: systemClock,
    logger: silentLogger,
    olderThanMs: 1,
    everyMs: 5,
  })
  watch.start()
  await expect.poll(() => watch.health()).toMatchObject({ status: 'down', error: 'no such method' })
  answer = async () => []
  await expect.poll(() => watch.health()).toEqual({ status: 'up', old: [] })
  await watch.close()
})

it('the watch of prepared transactions is idle until each database has answered', async () => {
  const { clock, watch, answer } = setup()
  watch.start()
  expect(watch.health()).toEqual({ status: 'idle', old: [] })
  await clock.advance(0)
  expect(watch.health()).toEqual({ status: 'idle', old: [] })
  await answer([])
  expect(watch.health()).toEqual({ status: 'up', old: [] })
  await watch.close()
})

it('the watch of prepared transactions is down while a database does not answer, and still reports those of another one', async () => {
  const { clock, log, watch } = setup([OLD])
  watch.start()
  await clock.advance(0)
  expect(watch.health()).toMatchObject({ status: 'down', detail: expect.stringContaining(GID), old: [OLD] })
  expect(log.text).toContain('a transaction is prepared for too long')
  await clock.advance(8_000)
  expect(watch.health()).toMatchObject({
    status: 'down',
    detail: expect.stringContaining(GID),
    error: 'no answer for 8 s while trying to list prepared transactions',
    old: [OLD],
  })
  await watch.close()
})

it('the watch of prepared transactions is down until a silent database answers, on any connection', async () => {
  const { clock, watch, asked, answer } = setup()
  watch.start()
  for (let seconds = 0; seconds < 120; seconds++) {
    await clock.advance(1_000)
    expect(watch.health().status).toBe(seconds < 7 ? 'idle' : 'down')
  }
  expect(asked.length).toBeGreaterThan(1)
  await answer([])
  expect(watch.health()).toEqual({ status: 'up', old: [] })
  await watch.close()
})

it('the watch of prepared transactions remembers those of a database that fails now', async () => {
  const { clock, watch, asked, answer } = setup()
  watch.start()
  await clock.advance(0)
  await answer([OLD])
  await clock.advance(30_000)
  asked.at(-1)?.reject(new Error('connection refused'))
  await clock.advance(0)
  expect(watch.health()).toMatchObject({ status: 'down', error: 'connection refused', old: [OLD] })
  await watch.close()
})

it('the watch of prepared transactions reports a transaction once that it sees through two clients', async () => {
  const { clock, log, watch, answer } = setup([OLD])
  watch.start()
  await clock.advance(0)
  await answer([{ ...OLD, ageMs: OLD.ageMs + 1 }])
  expect(watch.health().old).toHaveLength(1)
  expect(log.lines).toHaveLength(1)
  await watch.close()
})

test.each([
  ['an id', 'transfer/t-1/withdraw', 'npx concordat saga show transfer/t-1.'],
  ['an id with slashes, as that of a sub-saga', 'child/parent/p1/c/x', 'npx concordat saga show child/parent/p1/c.'],
])('the remedy names the saga of a step that has %s', (_, key, remedy) => {
  expect(remedyOf({ ...OLD, key })).toContain(remedy)
})

test('the remedy names no saga when the name of the transaction has no room for its id', () => {
  const gid = nextGid('concordat:0123456789012345678901:', null, `child/parent/${'x'.repeat(190)}/c/x`, 199)
  const key = keyOf(gid)
  expect(remedyOf({ gid, ageMs: 1, key })).toContain(`act on its saga, whose name and id begin with ${key}. `)
})

test('the remedy of a transaction of others leaves it to them', () => {
  for (const gid of ['theirs', 'concordat:', 'concordat:a:1:b', 'concordat:a:1:b/c']) {
    expect(remedyOf({ gid, ageMs: 1, key: keyOf(gid) })).toContain('it is not ours')
  }
})
