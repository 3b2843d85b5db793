// oxlint-disable no-restricted-imports -- what a service starts by itself: it has no public name

import { silentLogger, systemClock } from 'concordat/core'
import { type PreparedTransaction } from 'concordat/saga'
import { expect, it } from 'vitest'
import { PreparedWatch } from '../../../saga/participant/prepared.ts'

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
