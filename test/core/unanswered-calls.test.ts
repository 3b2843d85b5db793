import { expect, it } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- inside of the core: what health is made of
import { UnansweredCalls } from '../../core/unanswered-calls.ts'
import { FakeClock } from '../support/locks/fake-clock.ts'

function setup() {
  const clock = new FakeClock()
  const silence = new UnansweredCalls(clock)
  const call = (what: string) => {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    silence.track(promise, what).catch(() => {})
    return { promise, resolve, reject }
  }
  return { clock, silence, call }
}

it('a call that waits for eight seconds is reported until it is answered', async () => {
  const { clock, silence, call } = setup()
  const read = call('read')
  await clock.advance(7_999)
  expect(silence.error).toBeUndefined()
  await clock.advance(1)
  expect(silence.error?.message).toBe('no answer for 8 s while trying to read')
  read.reject(new Error('an answer too'))
  await clock.advance(0)
  expect(silence.error).toBeUndefined()
})

it('answered calls do not hide an older waiting one, of their kind or of another', async () => {
  const { clock, silence, call } = setup()
  const read = call('read')
  for (let n = 0; n < 9; n++) {
    for (const what of ['beat', 'read']) call(what).resolve()
    await clock.advance(1_000)
  }
  expect(silence.error?.message).toBe('no answer for 9 s while trying to read')
  read.resolve()
  await clock.advance(0)
  expect(silence.error).toBeUndefined()
})

it('the oldest of several calls that wait is reported', async () => {
  const { clock, silence, call } = setup()
  const first = call('read')
  await clock.advance(2_000)
  call('write')
  await clock.advance(8_000)
  expect(silence.error?.message).toBe('no answer for 10 s while trying to read')
  first.resolve()
  await clock.advance(0)
  expect(silence.error?.message).toBe('no answer for 8 s while trying to write')
})

it('a part that made no call for a while is not silent with its next call', async () => {
  const { clock, silence, call } = setup()
  call('read').resolve()
  await clock.advance(60_000)
  call('read')
  expect(silence.error).toBeUndefined()
})

it('calls that are given up and repeated before eight seconds have passed are reported without a gap', async () => {
  const { clock, silence, call } = setup()
  const reported: boolean[] = []
  for (let n = 0; n < 10; n++) {
    const { promise } = call('read')
    await clock.advance(3_000)
    silence.giveUp(promise)
    reported.push(silence.error !== undefined)
  }
  expect(reported).toEqual([false, false, ...Array.from({ length: 8 }, () => true)])
})

it('a call that was given up is forgotten when a later one of its kind succeeds', async () => {
  const { clock, silence, call } = setup()
  silence.giveUp(call('read').promise)
  await clock.advance(9_000)
  call('write').resolve()
  await clock.advance(0)
  expect(silence.error).toBeDefined()
  call('read').resolve()
  await clock.advance(0)
  expect(silence.error).toBeUndefined()
})

it('a call that still waits is reported though a later one of its kind succeeds after others were given up', async () => {
  const { clock, silence, call } = setup()
  const first = call('read')
  silence.giveUp(call('read').promise)
  await clock.advance(9_000)
  call('read').resolve()
  await clock.advance(0)
  expect(silence.error?.message).toBe('no answer for 9 s while trying to read')
  first.resolve()
  await clock.advance(0)
  expect(silence.error).toBeUndefined()
})

it('a call that was given up and is not repeated is forgotten after ten seconds', async () => {
  const { clock, silence, call } = setup()
  const { promise } = call('read')
  await clock.advance(30_000)
  silence.giveUp(promise)
  await clock.advance(9_999)
  expect(silence.error).toBeDefined()
  await clock.advance(1)
  expect(silence.error).toBeUndefined()
})
