import { expect, it } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- inside of the core: what health is made of
import { RecentFailures } from '../../core/recent-failures.ts'
import { FakeClock } from '../support/locks/fake-clock.ts'

const denied = new Error('permission denied')

function setup() {
  const clock = new FakeClock()
  const failed = new RecentFailures<Error>(clock, 10_000)
  failed.failed('write', denied)
  return { clock, failed }
}

it('a failed kind of call is reported until a call of that kind succeeds', () => {
  const { failed } = setup()
  failed.succeeded('read')
  expect(failed.latest()?.failure).toBe(denied)
  failed.succeeded('write')
  expect(failed.latest()?.failure).toBeUndefined()
})

it('a failed kind of call that is repeated and fails stays reported', async () => {
  const { clock, failed } = setup()
  for (let n = 0; n < 10; n++) {
    await clock.advance(9_000)
    expect(failed.latest()?.failure).toBe(denied)
    failed.failed('write', denied)
  }
})

it('a failed kind of call that is not repeated is forgotten after ten seconds', async () => {
  const { clock, failed } = setup()
  await clock.advance(9_999)
  expect(failed.latest()?.failure).toBe(denied)
  await clock.advance(1)
  expect(failed.latest()?.failure).toBeUndefined()
})

it('the latest failure is reported with the number of all, and the oldest makes room for more than are kept', () => {
  const failed = new RecentFailures<string>(new FakeClock(), 10_000, 2)
  for (const key of ['a', 'b', 'c', 'b']) failed.failed(key, `${key} failed`)
  expect(failed.latest()).toEqual({ key: 'b', failure: 'b failed', count: 2 })
  failed.succeeded('b')
  expect(failed.latest()).toEqual({ key: 'c', failure: 'c failed', count: 1 })
})
