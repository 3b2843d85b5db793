import { type Channel, createBinder, defineChannel, redrive, TransportError } from 'concordat/binder'
import { DAY, silentLogger, systemClock } from 'concordat/core'
import type { DestinationSpec, Transport } from 'concordat/extension'
import { type MemoryBroker, memoryTransport } from 'concordat/memory'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import type { RedriveOptions } from '../../support/inside/binder.ts'
import { drain, FakeClock } from '../../support/locks/fake-clock.ts'
import { gate, until } from '../../support/until.ts'
import { memoryLogger } from '../support/memory-logger.ts'
import { messageOn, ScriptedTransport } from '../support/scripted-transport.ts'
import { channel, run, withLetters } from './kit.ts'

it('a redrive ends when its signal aborts while the filter has not settled, and the dead letter stays for the next run', async () => {
  const { broker, state } = await withLetters(1)
  const asked = gate()
  const abort = new AbortController()
  const filter = () => {
    asked.open()
    return new Promise<never>(() => {})
  }
  const running = run(broker, { filter, signal: abort.signal })
  await asked.opened
  abort.abort()
  expect(await running).toMatchObject({ sent: 0, kept: 0, complete: false })
  state.isBroken = false
  expect(await run(broker)).toMatchObject({ sent: 1, complete: true })
})

it("another program's message with the type of its marks is handled, and goes back from the dead letters", async () => {
  const { broker, state, status } = await withLetters(0)
  const foreign = memoryTransport({ broker })
  onTestFinished(() => foreign.close())
  foreign.attach({ service: 'other', instance: 'other-1', logger: silentLogger, clock: systemClock })
  const message = { ...messageOn('orders', null, 7), type: 'concordat.redrive.end' }
  expect(await foreign.publish([message])).toEqual([undefined])
  await until('it is a dead letter', () => status().deadLettered === 1)
  state.isBroken = false
  expect(await run(broker)).toMatchObject({ sent: 1, complete: true })
  await until('it is handled', () => state.handled.length === 1)
})

/** Transport that joins the readers when the test says so. */
function lateReader(broker: MemoryBroker): {
  readonly transport: Transport
  readonly subscribing: Promise<void>
  readonly mayRead: () => void
} {
  const asked = gate()
  const allowed = gate()
  const transport = memoryTransport({ broker })
  const subscribe = transport.subscribe.bind(transport)
  transport.subscribe = async (spec, receiver) => {
    asked.open()
    await allowed.opened
    return subscribe(spec, receiver)
  }
  return { transport, subscribing: asked.opened, mayRead: allowed.open }
}

/**
 * Transport whose first redrive subscription loses its assignment before any dead letter is taken, with everything
 * delivered.
 */
function failingHalfWay(broker: MemoryBroker): Transport {
  const transport = memoryTransport({ broker })
  const subscribe = transport.subscribe.bind(transport)
  let tries = 0
  transport.subscribe = async (spec, receiver) => {
    const subscription = await subscribe(spec, receiver)
    if (++tries > 1) return subscription
    await subscription.close()
    throw new TransportError({ transport: 'memory', kind: 'unavailable', message: 'cut (made by the test)' })
  }
  return transport
}

describe('a redrive', () => {
  it.for([
    { days: 6, to: 'channel', warnings: 0 },
    { days: 8, to: 'channel', warnings: 1 },
    { days: 8, to: 'group', warnings: 0 },
  ] as const)(
    'of dead letters that are $days days old to the $to gives $warnings warnings that inboxes may have forgotten them',
    async ({ days, to, warnings }) => {
      const { broker } = await withLetters(3)
      const { logger, lines } = memoryLogger()
      const now = Date.now() + days * DAY
      const clock = { ...systemClock, now: () => now }
      const transport = memoryTransport({ broker })
      const host = { service: 'operator', transport, clock, logger }
      await redrive(host, channel as unknown as Channel, 'g', { to })
      const found = lines.filter((line) => String(line[1]).includes('failed more than 7 days ago'))
      expect(found).toHaveLength(warnings)
    },
  )

  it('sends at the configured rate, and skipped dead letters take no time', async () => {
    const { broker, state } = await withLetters(10)
    state.isBroken = false
    const clock = new FakeClock()
    const counts: string[] = []
    const running = run(
      broker,
      { perSecond: 2, filter: ({ key }) => key === 'k1', onProgress: (c) => counts.push(`${c.sent}+${c.kept}`) },
      clock,
    )
    await drain()
    expect(counts.at(-1)).toBe('1+2')
    await clock.advance(499)
    expect(counts.at(-1)).toBe('1+2')
    await clock.advance(1)
    expect(counts.at(-1)).toBe('2+3')
    for (let i = 0; i < 3; i++) await clock.advance(500)
    expect(await running).toMatchObject({ sent: 5, kept: 5, complete: true })
    await until('they were handled', () => state.handled.length === 5)
    expect(state.handled).toEqual([1, 3, 5, 7, 9])
  })

  it('treats only equal messages as copies: of two messages with one id neither is lost', async () => {
    const { broker, binder, state, status } = await withLetters(0)
    await binder.sendBatch(channel, [1, 3, 3], () => ({ id: 'order-7' }))
    await until('all are dead letters', () => status().deadLettered === 3)
    state.isBroken = false
    expect(await run(broker, { perSecond: 1_000 })).toMatchObject({ sent: 2, copies: 1, complete: true })
    await until('both are handled', () => state.handled.length === 2)
    expect(state.handled).toEqual([1, 3])
  })

  it('that gives letters up keeps one of the same message that its filter does not choose', async () => {
    const { broker, binder, status } = await withLetters(0)
    await binder.send(channel, 1, { id: 'order-7' })
    await until('it is a dead letter', () => status().deadLettered === 1)
    const [first] = (await run(broker, { dryRun: true })).letters
    await binder.send(channel, 1, { id: 'order-7' })
    await until('both are dead letters', () => status().deadLettered === 2)
    const filter: RedriveOptions['filter'] = ({ position }) => position === first?.position
    expect(await run(broker, { to: 'nowhere', filter })).toMatchObject({ sent: 1, kept: 1, copies: 0 })
    const { letters } = await run(broker, { dryRun: true })
    expect(letters.map(({ id, position }) => [id, position === first?.position])).toEqual([['order-7', false]])
  })

  it('shows in a dry run what a run with the same filter and limit then sends, without its pauses', async () => {
    const { broker, state } = await withLetters(6)
    state.isBroken = false
    const options: RedriveOptions = { filter: ({ key }) => key === 'k0', limit: 2, perSecond: 1_000 }
    const { letters } = await run(broker, { ...options, dryRun: true, perSecond: 1 }, new FakeClock())
    const { sent } = await run(broker, options)
    await until('they were handled', () => state.handled.length === sent)
    expect(state.handled).toEqual([0, 2])
    const left = await run(broker, { dryRun: true })
    expect(left.letters.map(({ id }) => id)).not.toEqual(expect.arrayContaining(letters.map(({ id }) => id)))
    expect(left.letters).toHaveLength(4)
  })

  it('lists each dead letter once over all pages, also when several have one id', async () => {
    const { broker, binder, status } = await withLetters(0)
    const ids = ['a', 'b', 'c', 'b', 'd', 'b', 'b', 'e']
    for (const [n, id] of ids.entries()) await binder.send(channel, n, { id })
    await until('all are dead letters', () => status().deadLettered === ids.length)
    for (const limit of [1, 2, 3, 5]) {
      const shown: string[] = []
      for (let complete = false; !complete; ) {
        expect(shown.length).toBeLessThanOrEqual(ids.length)
        const after = shown.length === 0 ? undefined : { skip: shown.length, id: shown.at(-1) as string }
        const page = await run(broker, { dryRun: true, limit, after })
        shown.push(...page.letters.map(({ id }) => id))
        complete = page.complete
      }
      expect(shown.toSorted()).toEqual(ids.toSorted())
    }
  })

  it('looks at a limited number of dead letters and bytes, and holds no more', async () => {
    const { broker } = await withLetters(6)
    const first = await run(broker, { dryRun: true, lookAt: 2 })
    expect(first).toMatchObject({ sent: 2, complete: false })
    const none = await run(broker, { dryRun: true, lookAt: 2, filter: () => false })
    expect(none).toMatchObject({ sent: 0, kept: 2, complete: false })
    const [letter] = first.letters
    const bytes = await run(broker, { dryRun: true, lookAtBytes: (letter?.bytes ?? 0) + 1 })
    expect(bytes).toMatchObject({ sent: 2, complete: false })
    expect(await run(broker, { dryRun: true })).toMatchObject({ sent: 6, complete: true })
    await expect(run(broker, { dryRun: true, lookAt: 65_536 })).rejects.toThrow('redrive.lookAt')
  })

  it('fails when the broker is down for too long, and the next one continues in order', async () => {
    const { broker, binder, state } = await withLetters(6)
    state.isBroken = false
    const stalled = run(broker, {
      stallTimeoutMs: 100,
      onProgress: ({ sent }) => {
        if (sent === 3) broker.interrupt()
      },
    })
    await expect(stalled).rejects.toMatchObject({ code: 'binder.redrive_stalled', retryable: true, sent: 3 })
    broker.recover()
    await binder.ready({ timeoutMs: 30_000 })
    expect(await run(broker, { perSecond: 1_000 })).toMatchObject({ copies: 0, complete: true })
    await until('all were handled', () => new Set(state.handled).size === 6)
    const firsts = [...new Set(state.handled)]
    for (const odd of [0, 1]) expect(firsts.filter((n) => n % 2 === odd)).toEqual([odd, odd + 2, odd + 4])
  })

  it.each([
    ['sent', undefined],
    ['kept', () => false],
  ])('loses none of its dead letters %s when another run takes its mark away', async (_, filter) => {
    const { broker, status } = await withLetters(5)
    const { transport, subscribing, mayRead } = lateReader(broker)
    const late = redrive({ service: 'late', transport }, channel as unknown as Channel, 'g', { filter })
    await subscribing // its mark is stored after the five dead letters
    expect(await run(broker)).toMatchObject({ sent: 5, complete: true })
    await until('they failed again', () => status().deadLettered === 10)
    mayRead()
    expect(await late).toMatchObject({ copies: 0, complete: true })
    await until('nothing is under way', () => status().running + status().queued === 0)
    const { letters } = await run(broker, { dryRun: true })
    expect(letters.map(({ key }) => key)).toEqual(expect.arrayContaining(['k0', 'k1', 'k0', 'k1', 'k0']))
    expect(new Set(letters.map(({ id }) => id)).size).toBe(5)
  })

  it('settles redriven dead letters, also when its first subscription failed half-way', async () => {
    const { broker, state } = await withLetters(4)
    state.isBroken = false
    const host = { service: 'operator', transport: failingHalfWay(broker) }
    expect(await redrive(host, channel as unknown as Channel, 'g')).toMatchObject({
      sent: 4,
      copies: 0,
      complete: true,
    })
    await until('they were handled', () => state.handled.length === 4)
    expect((await run(broker, { dryRun: true })).letters).toEqual([])
  })

  it('is refused for a group that has no dead letter channel, and makes nothing', async () => {
    const { broker } = await withLetters(1)
    for (const options of [{}, { to: 'group' }, { to: 'nowhere' }, { dryRun: true }] as const) {
      const host = { service: 'operator', transport: memoryTransport({ broker }) }
      const mistyped = redrive(host, channel as unknown as Channel, 'h', options)
      await expect(mistyped).rejects.toMatchObject({ code: 'binder.transport', kind: 'mismatch', retryable: false })
      await expect(mistyped).rejects.toThrow('"orders" has no dead letters of a group "h": "orders.h.dlq" is missing')
    }
  })

  it('to the channel makes no group that the channel does not declare', async () => {
    const made: DestinationSpec[] = []
    const { broker } = await withLetters(1)
    const transport = memoryTransport({ broker })
    const provision = transport.provision.bind(transport)
    transport.provision = (specs) => {
      made.push(...specs)
      return provision(specs)
    }
    const undeclared = defineChannel('orders', { payload: z.number() }) as unknown as Channel
    expect(await redrive({ service: 'operator', transport }, undeclared, 'g', { to: 'channel' })).toMatchObject({
      sent: 1,
    })
    expect(made.filter(({ name }) => name === 'orders').map(({ groups }) => groups)).toEqual([[]])
  })

  it('refuses a transport that its owner closes', async () => {
    const { broker } = await withLetters(1)
    const transport = memoryTransport({ broker })
    const binder = createBinder({ service: 'shop', instance: 'shop-1', transport })
    onTestFinished(() => binder.close())
    const withIt = () => redrive({ service: 'operator', transport }, channel as unknown as Channel, 'g')
    await expect(withIt()).rejects.toThrow(
      'redrive.transport: expected one of its own and not that of the binder "shop-1"',
    )
    const host = { service: 'operator', transport: memoryTransport({ broker }) }
    await redrive(host, channel as unknown as Channel, 'g', { dryRun: true })
    await expect(redrive(host, channel as unknown as Channel, 'g')).rejects.toThrow(
      'not that of the redrive "operator-redrive-',
    )
  })

  it('does not begin when the broker is down', async () => {
    const { broker } = await withLetters(1)
    broker.interrupt()
    await expect(run(broker)).rejects.toMatchObject({ code: 'binder.transport', kind: 'unavailable' })
    broker.recover()
    expect(await run(broker, { dryRun: true })).toMatchObject({ sent: 1 })
  })

  it('ends while new dead letters come in, which the next one sends', async () => {
    const { broker, binder, state, status } = await withLetters(4)
    const report = await run(broker, {
      perSecond: 10_000,
      filter: async () => {
        // The handler adds another dead letter for each one: a run that followed them would not end.
        const before = status().deadLettered
        await binder.send(channel, 100)
        await until('it is a dead letter', () => status().deadLettered > before)
        return true
      },
    })
    expect(report).toMatchObject({ sent: 4, kept: 0, complete: true })
    await until('all have failed again', () => status().deadLettered === 12)
    state.isBroken = false
    expect(await run(broker, { perSecond: 10_000 })).toMatchObject({ sent: 8, copies: 0, complete: true })
    await until('all were handled', () => state.handled.length === 8)
  })
})

it('a dry run from behind a deleted dead letter passes whole dead letters to its filter', async () => {
  const { broker } = await withLetters(6)
  const asked: unknown[] = []
  const filter = ({ body }: { readonly body: Uint8Array | null }): boolean => {
    asked.push(body === null ? null : JSON.parse(new TextDecoder().decode(body)))
    return true
  }
  const { letters } = await run(broker, { dryRun: true, after: { skip: 3, id: 'gone' }, filter })
  expect(asked).toEqual([0, 1, 2, 3, 4, 5])
  expect(letters.map(({ body }) => body)).toEqual([null, null, null, null, null, null])
})

it('a listing whose dead letters are withdrawn lists each once when they are redelivered', async () => {
  const transport = Object.assign(new ScriptedTransport(), { lag: async () => 3 })
  const look = redrive(
    { service: 'operator', transport, logger: memoryLogger().logger },
    channel as unknown as Channel,
    'g',
    {
      dryRun: true,
    },
  )
  await until('it looks', () => transport.subscriptions.length === 1)
  const loan = new AbortController()
  for (const n of [1, 2]) transport.subscription.deliver(`k${n}`, n, loan)
  await drain()
  loan.abort()
  await until('it begins again', () => transport.subscriptions.length === 2)
  for (const n of [1, 2, 3]) transport.subscription.deliver(`k${n}`, n)
  const { letters, complete } = await look
  expect({ keys: letters.map(({ key }) => key), complete }).toEqual({ keys: ['k1', 'k2', 'k3'], complete: true })
})

it.for(['filter', 'rate'] as const)(
  'a letter that is withdrawn while the %s holds it up is left to who has it now, and taken when it comes again',
  async (holdUp) => {
    const transport = new ScriptedTransport()
    const clock = new FakeClock()
    const abort = new AbortController()
    const chosen = gate()
    const asked: string[] = []
    const filter = async ({ key }: { readonly key: string | null }): Promise<boolean> => {
      asked.push(String(key))
      if (holdUp === 'filter' && asked.length === 2) await chosen.opened
      return true
    }
    const host = { service: 'operator', transport, clock, logger: memoryLogger().logger }
    const perSecond = holdUp === 'rate' ? 1 : 1_000
    const options = { perSecond, filter, signal: abort.signal }
    const running = redrive(host, channel as unknown as Channel, 'g', options)
    const sentBack = () =>
      transport.published
        .flat()
        .filter(({ destination }) => destination === channel.name)
        .map(({ key }) => key)
    await drain()
    const loan = new AbortController()
    for (const n of [1, 2, 3]) transport.subscription.deliver(`k${n}`, n, loan)
    await clock.advance(10)
    expect([sentBack(), asked]).toEqual([['k1'], ['k1', 'k2']])
    loan.abort(new Error('another run has them'))
    chosen.open()
    await clock.advance(10_000)
    expect(sentBack()).toEqual(['k1'])
    transport.subscription.deliver('k3', 3)
    await clock.advance(10_000)
    expect(sentBack()).toEqual(['k1', 'k3'])
    abort.abort()
    expect(await running).toMatchObject({ sent: 2, kept: 0 })
  },
)
