import { expect, it } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- inside of the core: what health is made of
import { Silence } from '../../core/silence.ts'
import { FakeClock } from '../support/locks/fake-clock.ts'

it('a server is silent when calls wait for eight seconds and none is answered', async () => {
  const clock = new FakeClock()
  const silence = new Silence(clock)
  const calls = [1, 2].map(() => Promise.withResolvers<void>())
  for (const { promise } of calls) silence.track(promise).catch(() => {})
  await clock.advance(7_999)
  expect(silence.error).toBeUndefined()
  await clock.advance(1)
  expect(silence.error?.message).toBe('no answer for 8 s')
  calls[0]?.reject(new Error('an answer too'))
  await clock.advance(7_999)
  expect(silence.error).toBeUndefined()
  await clock.advance(1)
  expect(silence.error?.message).toBe('no answer for 8 s')
  calls[1]?.resolve()
  await clock.advance(60_000)
  expect(silence.error).toBeUndefined()
})

it('a server that was not asked for a while is not silent with the first call', async () => {
  const clock = new FakeClock()
  const silence = new Silence(clock)
  await silence.track(Promise.resolve())
  await clock.advance(60_000)
  void silence.track(new Promise(() => {}))
  expect(silence.error).toBeUndefined()
})
