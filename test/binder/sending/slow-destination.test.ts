import { combineTransports, createBinder, defineChannel } from 'concordat/binder'
import type { PublishOutcome, Transport } from 'concordat/extension'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { FakeClock } from '../../support/locks/fake-clock.ts'
import { ScriptedTransport } from '../support/scripted-transport.ts'

const Payload = z.object({ n: z.number() })
const channelOf = (name: string) => defineChannel(name, { payload: Payload, key: ({ n }) => String(n) })
const WINDOW = 100
const [well, sick, ailing] = [channelOf('well'), channelOf('sick'), channelOf('ailing')]

/** Says of each message to `well` at once that it is confirmed, of others only when `heal` is called. */
async function setup(wrap: (transport: ScriptedTransport) => Transport) {
  const clock = new FakeClock()
  const transport = new ScriptedTransport()
  transport.isolatesDestinations = true
  const ill: Array<{ readonly destination: string; readonly answer: () => void }> = []
  transport.onPublish = async (messages, { onOutcome } = {}) => {
    const told = (index: number): PublishOutcome => {
      onOutcome?.(index, undefined)
      return undefined
    }
    return Promise.all(
      messages.map(({ destination }, index) =>
        destination === well.name
          ? Promise.resolve(told(index))
          : new Promise<PublishOutcome>((resolve) => ill.push({ destination, answer: () => resolve(told(index)) })),
      ),
    )
  }
  const binder = createBinder({
    service: 'test',
    transport: wrap(transport),
    clock,
    sendTimeoutMs: 30_000,
    maxInFlight: WINDOW,
  })
  /** @param of the destination that answers @default all */
  const heal = (of?: typeof well): void => {
    for (const each of ill.splice(0))
      if (of === undefined || each.destination === of.name) each.answer()
      else ill.push(each)
  }
  onTestFinished(async () => {
    heal()
    await clock.advance(1_000)
    heal()
    await binder.close()
  })
  await binder.start()
  const done: string[] = []
  const send = (channel: typeof well, n: number): Promise<void> =>
    binder.send(channel, { n }).then(() => void done.push(`${channel.name} ${n}`))
  const calls = (): string[][] =>
    transport.published.map((messages) => messages.map(({ destination, key }) => `${destination} ${String(key)}`))
  return { clock, transport, send, heal, done, calls }
}

describe.each([
  ['alone', (transport: ScriptedTransport): Transport => transport],
  ['combined with others', (only: ScriptedTransport) => combineTransports({ transports: { only }, default: 'only' })],
])('a destination that does not answer, on a transport %s', (_, wrap) => {
  it('holds up nothing that is sent elsewhere, and keeps its own order', async () => {
    const { clock, send, heal, done, calls } = await setup(wrap)
    const all = [send(sick, 1), send(well, 2)]
    await clock.advance(300)
    expect(done).toEqual(['well 2'])
    for (const n of [3, 5]) {
      all.push(send(sick, n), send(well, n + 1))
      await clock.advance(10)
    }
    expect(done).toEqual(['well 2', 'well 4', 'well 6'])

    heal()
    await clock.advance(10)
    expect(calls().at(-1)).toEqual(['sick 3', 'sick 5'])
    heal()
    await Promise.all(all)
    await clock.advance(10)
    expect(done.slice(3)).toEqual(['sick 1', 'sick 3', 'sick 5'])
  })

  it('delays no destination that answers late in the same batch', async () => {
    const { clock, send, heal, done, calls } = await setup(wrap)
    const all = [send(sick, 1), send(ailing, 2)]
    await clock.advance(300)
    all.push(send(ailing, 3), send(sick, 4))
    await clock.advance(1)
    heal(ailing)
    await clock.advance(1)
    expect(done).toEqual(['ailing 2'])
    expect(calls().at(-1)).toEqual(['ailing 3'])
    heal(ailing)
    await clock.advance(1)
    all.push(send(ailing, 5))
    await clock.advance(1)
    expect(calls().at(-1)).toEqual(['ailing 5'])
    heal(ailing)
    await clock.advance(1)
    expect(done).toEqual(['ailing 2', 'ailing 3', 'ailing 5'])
    expect(calls().flat(), 'the next batch waits for an answer').not.toContain('sick 4')

    heal()
    await clock.advance(1)
    heal()
    await Promise.all(all)
    expect(done.slice(3)).toEqual(['sick 1', 'sick 4'])
  })

  it('goes with the others again once nothing waits for it', async () => {
    const { clock, send, heal, calls } = await setup(wrap)
    const first = send(sick, 1)
    await clock.advance(300)
    heal()
    await first
    await clock.advance(1)
    const before = [send(well, 2), send(sick, 3)]
    await clock.advance(1)
    const later = [send(sick, 4), send(well, 5)]
    await clock.advance(1)
    heal()
    await Promise.all(before)
    await clock.advance(1)
    heal()
    await Promise.all(later)
    expect(calls().at(-1)).toEqual(expect.arrayContaining(['sick 4', 'well 5']))
  })

  it('leaves room for the others when it fills the window, and keeps its order behind it', async () => {
    const { clock, send, heal, done, calls } = await setup(wrap)
    const all = Array.from({ length: 2 * WINDOW }, (_, n) => send(sick, n))
    all.push(send(well, 0))
    await clock.advance(300)
    expect(done).toEqual(['well 0'])
    for (let n = 1; n <= 2 * WINDOW; n++) {
      all.push(send(sick, 2 * WINDOW + n), send(well, n))
      await clock.advance(1)
    }
    expect(done).toHaveLength(2 * WINDOW + 1)
    const toSick = calls().flatMap((keys) => keys.filter((key) => key.startsWith('sick')))
    expect(toSick.length, 'its own limit').toBeLessThanOrEqual(WINDOW)

    for (let left = 100; done.length < all.length && left > 0; left--) {
      heal()
      await clock.advance(1)
    }
    await Promise.all(all)
    const order = done.filter((each) => each.startsWith('sick')).map((each) => Number(each.slice(5)))
    expect(order).toEqual(order.toSorted((a, b) => a - b))
    expect(order).toHaveLength(4 * WINDOW)
  })

  it('has no more than its limit when it became slow together with another one', async () => {
    const { clock, send, heal, calls } = await setup(wrap)
    const all = [send(ailing, 0), ...Array.from({ length: 6 * WINDOW }, (_, n) => send(sick, n))]
    await clock.advance(300)
    const open = (): number => calls().flat().length
    expect(open(), 'and one that went out before').toBeLessThanOrEqual(WINDOW + 1)
    for (let answered = open(); answered < all.length; answered = open()) {
      heal()
      await clock.advance(300)
      expect(open() - answered, 'since the last answers').toBeLessThanOrEqual(WINDOW + 1)
    }
    heal()
    await clock.advance(300)
    await Promise.all(all)
  })

  it('leaves room for the others while it is being made', async () => {
    const { clock, transport, send, heal, done } = await setup(wrap)
    const made = Promise.withResolvers<void>()
    transport.onProvision = (specs) => (specs.some(({ name }) => name === sick.name) ? made.promise : Promise.resolve())
    const all = Array.from({ length: 3 * WINDOW }, (_, n) => send(sick, n))
    await clock.advance(1)
    for (let n = 0; n < 2 * WINDOW; n++) {
      all.push(send(well, n))
      await clock.advance(1)
    }
    expect(done).toHaveLength(2 * WINDOW)

    made.resolve()
    for (let left = 100; done.length < all.length && left > 0; left--) {
      await clock.advance(300)
      heal()
    }
    await Promise.all(all)
    const order = done.filter((each) => each.startsWith('sick')).map((each) => Number(each.slice(5)))
    expect(order).toEqual(order.toSorted((a, b) => a - b))
  })
})
