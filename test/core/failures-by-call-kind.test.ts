import { expect, it } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- inside of the core: what health is made of
import { FailingCallKinds } from '../../core/failing-call-kinds.ts'
import { FakeClock } from '../support/locks/fake-clock.ts'

const denied = new Error('permission denied')

function setup() {
  const clock = new FakeClock()
  const failed = new FailingCallKinds(clock)
  failed.failed('write', denied)
  return { clock, failed }
}

it('a failed kind of call is reported until a call of that kind succeeds', () => {
  const { failed } = setup()
  failed.succeeded('read')
  expect(failed.error).toBe(denied)
  failed.succeeded('write')
  expect(failed.error).toBeUndefined()
})

it('a failed kind of call that is repeated and fails stays reported', async () => {
  const { clock, failed } = setup()
  for (let n = 0; n < 10; n++) {
    await clock.advance(9_000)
    expect(failed.error).toBe(denied)
    failed.failed('write', denied)
  }
})

it('a failed kind of call that is not repeated is forgotten after ten seconds', async () => {
  const { clock, failed } = setup()
  await clock.advance(9_999)
  expect(failed.error).toBe(denied)
  await clock.advance(1)
  expect(failed.error).toBeUndefined()
})
