import {
  type Binder,
  combineTransports,
  createBinder,
  defineChannel,
  SendError,
  TransportError,
} from 'concordat/binder'
import type { Clock } from 'concordat/core'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { FakeClock } from '../../support/locks/fake-clock.ts'
import { ScriptedTransport } from '../support/scripted-transport.ts'

const channel = defineChannel('numbers', { payload: z.object({ n: z.number() }) })

async function setup(clock: Clock, transport: ScriptedTransport = new ScriptedTransport()) {
  const binder: Binder = createBinder({ service: 'test', transport, clock })
  onTestFinished(() => binder.close())
  await binder.start()
  return { transport, binder, send: (n: number) => binder.send(channel, { n }) }
}

describe('health while the broker confirms nothing', () => {
  const timedOut = new TransportError({ transport: 'scripted', kind: 'timeout', message: 'no confirm in time' })
  const unanswered = (transport: ScriptedTransport, clock: Clock): void => {
    transport.onPublish = (messages) =>
      new Promise((resolve) => {
        const timer = clock.setTimer(30_000, () => resolve(messages.map(() => timedOut)))
        onTestFinished(() => timer())
      })
  }

  it('is down with the reason within ten seconds, stays so while sends time out, and is up with the next confirm', async () => {
    const clock = new FakeClock()
    const { transport, binder, send } = await setup(clock)
    await send(1)
    unanswered(transport, clock)
    const lost = send(2).catch((error: unknown) => error)
    await clock.advance(7_000)
    expect(binder.health().status).toBe('up')
    await clock.advance(2_000)
    const detail = 'scripted: no answer for 9 s while trying to publish'
    expect(binder.health()).toMatchObject({ status: 'down', transport: { status: 'down', detail } })
    await clock.advance(21_000)
    expect(await lost).toBeInstanceOf(SendError)
    expect(binder.health().status).toBe('down')
    transport.onPublish = async (messages) => messages.map(() => undefined)
    await send(3)
    expect(binder.health().status).toBe('up')
  })

  it('stays down while sends end unconfirmed, for any reason of the transport', async () => {
    const clock = new FakeClock()
    const { transport, binder, send } = await setup(clock)
    const refused = new TransportError({ transport: 'scripted', kind: 'refused', message: 'takes no messages' })
    transport.onPublish = (messages) =>
      new Promise((resolve) => void clock.setTimer(30_000, () => resolve(messages.map(() => refused))))
    const lost = send(1).catch(() => {})
    await clock.advance(30_000)
    await lost
    expect(binder.health().status).toBe('down')
  })

  it('is up while messages wait for room', async () => {
    const clock = new FakeClock()
    const roomy = Object.assign(new ScriptedTransport(), { waitsForRoom: true as const })
    const { transport, binder, send } = await setup(clock, roomy)
    unanswered(transport, clock)
    const waiting = send(1).catch(() => {})
    await clock.advance(20_000)
    expect(binder.health().status).toBe('up')
    await clock.advance(10_000)
    await waiting
  })

  it('names the transport that confirms nothing', async () => {
    const clock = new FakeClock()
    const [silent, other] = [new ScriptedTransport(), new ScriptedTransport()]
    unanswered(silent, clock)
    const transport = combineTransports({ transports: { silent, other }, of: { numbers: 'silent' }, default: 'other' })
    const binder = createBinder({ service: 'test', transport, clock })
    onTestFinished(() => binder.close())
    await binder.start()
    const lost = binder.send(channel, { n: 1 }).catch(() => {})
    await clock.advance(9_000)
    expect(binder.health()).toMatchObject({
      status: 'down',
      transport: { detail: 'silent: down (scripted: no answer for 9 s while trying to publish), other: up' },
    })
    await clock.advance(21_000)
    await lost
  })
})
