import { type Binder, combineTransports, createBinder, defineChannel, sink, TransportError } from 'concordat/binder'
import type { DestinationSpec } from 'concordat/extension'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { gate, until } from '../../support/until.ts'
import { messageOn, ScriptedTransport } from '../support/scripted-transport.ts'

const good = defineChannel('good', { payload: z.number() })
const bad = defineChannel('bad', { payload: z.number() })
const fresh = defineChannel('fresh', { payload: z.number() })

const mismatch = new TransportError({ transport: 'scripted', kind: 'mismatch', message: 'has other partitions' })
const away = new TransportError({ transport: 'scripted', kind: 'unavailable', message: 'away' })

const names = (specs: readonly DestinationSpec[]): readonly string[] => specs.map(({ name }) => name)

async function setup(bindings: readonly ReturnType<typeof sink>[] = []): Promise<{
  transport: ScriptedTransport
  binder: Binder
  /** Destinations created from now on, call by call. */
  asked: () => ReadonlyArray<readonly string[]>
}> {
  const transport = new ScriptedTransport()
  const binder = createBinder({ service: 'test', transport, bindings, sends: [good] })
  onTestFinished(() => binder.close())
  await binder.start()
  const before = transport.provisioned.length
  return { transport, binder, asked: () => transport.provisioned.slice(before).map(names) }
}

/** A broker on which `bad` cannot be made. */
function refusing(transport: ScriptedTransport, error: Error): void {
  transport.onProvision = async (specs) => {
    if (names(specs).includes('bad')) throw error
  }
}

describe('a destination that cannot be created', () => {
  it('fails its own messages and no others, to known and to new destinations', async () => {
    const { transport, binder } = await setup()
    refusing(transport, mismatch)
    const sent = await Promise.allSettled([binder.send(good, 1), binder.send(bad, 1), binder.send(fresh, 1)])
    expect(sent.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(sent[1]).toMatchObject({ reason: { destination: 'bad', retryable: false, cause: mismatch } })
    const outcomes = await binder.publish(['good', 'bad', 'later'].map((name) => messageOn(name, 'k', 1)))
    expect(outcomes).toEqual([undefined, mismatch, undefined])
  })

  it('does not remove the headers of a dead letter', async () => {
    const poison = sink(good, { group: 'g', maxAttempts: 1 }, () => Promise.reject(new Error('no')))
    const { transport, binder } = await setup([poison])
    refusing(transport, mismatch)
    const free = gate()
    transport.onPublish = async (messages) => {
      await free.opened
      return messages.map(() => undefined)
    }
    const first = binder.send(good, 0)
    await until('a call is open', () => transport.published.length === 1)
    const beside = [binder.send(bad, 1), binder.send(bad, 2)].map((sent) => sent.catch(() => {}))
    const delivery = transport.subscription.deliver(null, 1)
    await new Promise(setImmediate)
    free.open()
    await until('it has ended', () => delivery.end !== undefined)
    await Promise.all([first, ...beside])
    const letter = transport.published.flat().find(({ destination }) => destination === 'good.g.dlq')
    expect(letter?.headers).toHaveProperty('dead-letter-error-stack')
  })

  it('is created alone after a temporary failure with others, which then get through', async () => {
    const { transport, binder, asked } = await setup()
    refusing(transport, away)
    const both = (): Promise<readonly string[]> =>
      Promise.allSettled([binder.send(bad, 1), binder.send(fresh, 1)]).then((ends) => ends.map(({ status }) => status))
    expect(await both()).toEqual(['rejected', 'rejected'])
    expect(await both()).toEqual(['rejected', 'fulfilled'])
    expect(asked()).toEqual([['bad', 'fresh'], ['bad'], ['fresh']])
  })
})

describe('a destination that is being created', () => {
  it('holds up messages to it, in order, and none to other destinations', async () => {
    const { transport, binder } = await setup()
    const made = gate()
    transport.onProvision = (specs) => (names(specs).includes('bad') ? made.opened : Promise.resolve())
    const held = [1, 2].map((n) => binder.send(bad, n))
    await new Promise(setImmediate)
    await Promise.all([binder.send(good, 1), binder.send(fresh, 1)])
    held.push(binder.send(bad, 3))
    made.open()
    await Promise.all(held)
    const bodies = transport.published.flat().map(({ destination, body }) => `${destination} ${String(body)}`)
    expect(bodies).toEqual(['good 1', 'fresh 1', 'bad 1', 'bad 2', 'bad 3'])
  })

  it('is made in one call with the others of its turn', async () => {
    const { binder, asked } = await setup()
    await Promise.all([binder.send(bad, 1), binder.send(fresh, 1), binder.send(bad, 2)])
    expect(asked()).toEqual([['bad', 'fresh']])
  })

  it('holds up no new destination on another broker, however many wait for the first one', async () => {
    const [dead, well] = [new ScriptedTransport(), new ScriptedTransport()]
    const away = gate()
    dead.onProvision = () => away.opened
    const binder = createBinder({
      service: 'test',
      transport: combineTransports({ transports: { dead, well }, of: { dead: 'dead' }, default: 'well' }),
    })
    onTestFinished(() => {
      away.open()
      return binder.close()
    })
    await binder.start()
    const held = Array.from({ length: 100 }, (_, n) =>
      binder.send(defineChannel(`dead.${n}`, { payload: z.number() }), n),
    )
    held.push(binder.send(fresh, 1))
    await new Promise(setImmediate)
    expect(well.published).toHaveLength(1)
    expect(dead.provisioned.flatMap(names), 'calls at once').toHaveLength(16)
    away.open()
    await Promise.all(held)
  })

  it('also gets its delay queues, while undelayed messages are sent', async () => {
    const { transport, binder } = await setup()
    const made = gate()
    transport.onProvision = (specs) => (specs.some(({ delays }) => delays) ? made.opened : Promise.resolve())
    const delayed = binder.send(good, 1, { delayMs: 10 })
    await new Promise(setImmediate)
    await binder.send(good, 2)
    made.open()
    await delayed
    expect(transport.published.flat().map(({ body }) => String(body))).toEqual(['2', '1'])
  })

  it('is waited for by close, and only when it was made', async () => {
    const { transport, binder } = await setup()
    const made = gate()
    transport.onProvision = async () => {
      await made.opened
      throw away
    }
    const sent = binder.send(bad, 1).catch((error: unknown) => error)
    await until('it is being made', () => transport.provisioned.flatMap(names).includes('bad'))
    const closed = binder.close()
    await new Promise(setImmediate)
    expect(transport.closed).toBe(false)
    made.open()
    await closed
    expect(await sent).toMatchObject({ retryable: true, cause: away })
  })
})
