// oxlint-disable no-restricted-imports -- what a service starts by itself: it has no public name

import { silentLogger, systemClock } from 'concordat/core'
import { type PreparedTransaction } from 'concordat/saga'
import { expect, it, test } from 'vitest'
import { keyOf, PreparedWatch, remedyOf } from '../../../saga/participant/prepared.ts'
import { nextGid } from '../../../saga/participant/xa-gid.ts'

const GID = 'concordat:0123456789012345678901:1:transfer/t-1/withdraw'
const OLD: PreparedTransaction = { gid: GID, ageMs: 400_000, key: 'transfer/t-1/withdraw' }

it('is down, and rejects nothing that nobody hears, while a resource throws', async () => {
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
