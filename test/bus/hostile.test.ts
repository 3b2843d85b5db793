import { createHmac } from 'node:crypto'
import type { EncodedMessage } from 'concordat/binder'
import { describe, expect, it } from 'vitest'
import { type Instance, Ping, SECRET } from '../conformance/bus-kit.ts'
import type { BusCounters } from '../support/inside/bus.ts'
import { newId } from '../support/inside/core.ts'
import { until } from '../support/until.ts'
import { EVENT_HEADERS, keepingLogger, world } from './kit.ts'

const counters = ({ bus }: Instance): BusCounters => bus.health().counters

/** Body and headers of a received event, for sending it again with changes. */
function again(message: EncodedMessage | undefined, change: Partial<EncodedMessage> = {}): Partial<EncodedMessage> {
  if (message === undefined) throw new Error('nothing was heard')
  return { id: message.id, time: message.time, body: message.body, ...change }
}

describe('a signed bus', () => {
  it('rejects tampered messages: body, sender, address, name, id, time, request for an answer', async () => {
    const { join, intruder } = world()
    const logger = keepingLogger()
    const [sender, receiver, thief] = await Promise.all([
      join({ instance: 'a', secret: SECRET }),
      join({ instance: 'b', secret: SECRET, logger }),
      intruder(),
    ])
    await sender.bus.publish(Ping, { n: 1 }, { to: 'orders:*:c' })
    await until('it was overheard', () => thief.heard.length === 1)
    const [genuine] = thief.heard
    const headers = genuine?.headers ?? {}
    const changes: ReadonlyArray<readonly [Record<string, string | boolean>, Partial<EncodedMessage>]> = [
      [{ 'bus-to': '**' }, {}],
      [{ 'bus-to': 'orders:*:b' }, {}],
      [{ 'bus-to': '**', 'bus-from': 'orders:default:boss' }, {}],
      [{ 'bus-to': '**', 'bus-event': 'concordat.shutdown' }, {}],
      [{ 'bus-to': '**', 'bus-ack': true }, {}],
      [{ 'bus-to': '**', 'bus-signature': '0'.repeat(64) }, {}],
      [{ 'bus-to': '**' }, { body: Buffer.from('{"n":2}') }],
      [{ 'bus-to': '**' }, { id: newId() }],
      [{ 'bus-to': '**' }, { time: (genuine?.time ?? 0) + 1 }],
    ]
    for (const [header, message] of changes) await thief.send({ ...headers, ...header }, again(genuine, message))
    await until('all were judged', () => counters(receiver).dropped.forged === changes.length)
    await thief.send(EVENT_HEADERS)
    await until('an unsigned one too', () => counters(receiver).dropped.unsigned === 1)
    expect(receiver.pings).toEqual([])
    const line = logger.lines.find(({ fields }) => fields['reason'] === 'forged')
    expect(line).toMatchObject({ level: 'warn', fields: { claimsToBe: 'orders:default:a', messageId: genuine?.id } })
  })

  it('handles a replayed event once, and none that is older than maxSkewMs', async () => {
    const { join, intruder } = world()
    const options = { secret: SECRET, maxSkewMs: 1_500, dedupeWindowMs: 3_000 }
    const [sender, receiver, thief] = await Promise.all([
      join({ instance: 'a', ...options }),
      join({ instance: 'b', ...options }),
      intruder(),
    ])
    await sender.bus.publish(Ping, { n: 1 }, { to: '**', ackTimeoutMs: 5_000 })
    const [genuine] = thief.heard
    await thief.send(genuine?.headers ?? {}, again(genuine))
    await until('it was known', () => counters(receiver).duplicates === 1)
    await until('it is old', () => Date.now() - (genuine?.time ?? 0) > 1_600)
    await thief.send(genuine?.headers ?? {}, again(genuine))
    await until('it was stale', () => counters(receiver).dropped.stale === 1)
    expect(receiver.pings).toEqual([1])
  })

  it('does not take an event for new because many came after it', async () => {
    const { join, intruder } = world()
    const options = { secret: SECRET, dedupeMaxEvents: 100 }
    const [sender, receiver, thief] = await Promise.all([
      join({ instance: 'a', ...options }),
      join({ instance: 'b', ...options }),
      intruder(),
    ])
    for (let n = 0; n < 250; n++) await sender.bus.publish(Ping, { n }, { to: 'orders:*:b' })
    await until('all came', () => receiver.pings.length === 250)
    await thief.send(thief.heard[0]?.headers ?? {}, again(thief.heard[0]))
    await until('it was stale', () => counters(receiver).dropped.stale === 1)
    expect(receiver.pings).toHaveLength(250)
  })

  it('believes no answer, goodbye or here-I-am that is not signed', async () => {
    const { join, intruder } = world()
    const [a, b, thief] = await Promise.all([
      join({ instance: 'a', secret: SECRET }),
      join({ instance: 'b', secret: SECRET, onPing: () => new Promise(() => {}), drainTimeoutMs: 1 }),
      intruder(),
    ])
    const forge = (destination: string, headers: Record<string, string | number>): Promise<void> =>
      thief.send({ 'bus-version': 1, ...headers }, { destination, type: destination, body: Buffer.from('{}') })
    await forge('concordat.bus.presence', {
      'bus-from': 'orders:default:ghost',
      'bus-presence': 'here',
      'bus-session': 's',
      'bus-interval': 1_000,
    })
    const asking = a.bus.publish(Ping, { n: 1 }, { to: '**', id: 'e-1', ackTimeoutMs: 500 })
    await until('it came', () => b.pings.length === 1)
    await forge('concordat.bus.acks', {
      'bus-from': 'orders:default:b',
      'bus-ack-of': 'e-1',
      'bus-to': 'orders:default:a',
      'bus-status': 'acked',
    })
    expect(await asking).toMatchObject({ acked: [a.bus.address], missing: [b.bus.address] })
    expect(counters(a).dropped.unsigned).toBe(2)
  })
})

it('a signed bus accepts another client that signs as the wire format page specifies', async () => {
  const { join, intruder } = world()
  const [one, client] = await Promise.all([join({ instance: 'a', secret: SECRET }), intruder()])
  const [id, time, from, body] = ['from-python-1', Date.now(), 'reports:default:py', '{"n":7}']
  const fields = ['concordat-bus-1', 'concordat.bus', 'event', id, from, String(time), 'ping', 'orders:**', '', body]
  const form = fields.map((field) => `${Buffer.byteLength(field)}:${field},`).join('')
  const signature = createHmac('sha256', SECRET).update(form).digest('hex')
  // Text only, as a client sends it that knows no other headers.
  const headers = { 'bus-version': '1', 'bus-from': from, 'bus-event': 'ping', 'bus-to': 'orders:**' }
  await client.send({ ...headers, 'bus-signature': signature }, { id, time, body: Buffer.from(body) })
  await until('it is handled', () => one.pings.length === 1)
  expect([one.pings, one.contexts[0]?.from]).toEqual([[7], { service: 'reports', group: 'default', instance: 'py' }])
})

describe('a message of a foreign sender', () => {
  const HEADERS: ReadonlyArray<readonly [string, Readonly<Record<string, string | number | Uint8Array | null>>]> = [
    ['nothing', {}],
    ['no sender', { 'bus-version': 1, 'bus-event': 'ping', 'bus-to': '**' }],
    ['a sender that is no address', { ...EVENT_HEADERS, 'bus-from': 'a' }],
    ['a pattern that is none', { ...EVENT_HEADERS, 'bus-to': '***' }],
    ['bytes for a name', { ...EVENT_HEADERS, 'bus-event': Buffer.from('ping') }],
    ['null for a name', { ...EVENT_HEADERS, 'bus-event': null }],
    ['a name without end', { ...EVENT_HEADERS, 'bus-event': 'x'.repeat(10_000) }],
    ['a version that is none', { ...EVENT_HEADERS, 'bus-version': 'one' }],
  ]

  it('is dropped and counted, and the next one is handled', async () => {
    const { join, intruder } = world()
    const [one, stranger] = await Promise.all([join({ instance: 'a' }), intruder()])
    for (const [, headers] of HEADERS) await stranger.send(headers)
    await until('all were dropped', () => counters(one).dropped.malformed === HEADERS.length)
    await stranger.send({ ...EVENT_HEADERS, 'bus-version': 2, 'bus-to': 7 })
    await until('the newer one too', () => counters(one).dropped.unsupported === 1)
    expect((await one.bus.publish(Ping, { n: 1 }, { to: '**', ackTimeoutMs: 5_000 })).acked).toEqual([one.bus.address])
    expect(one.pings).toEqual([1])
  })

  it('in a flood is logged at most once a second', async () => {
    const { join, intruder } = world()
    const logger = keepingLogger()
    const [one, stranger] = await Promise.all([join({ instance: 'a', logger }), intruder()])
    for (let n = 0; n < 500; n++) await stranger.send({})
    await until('all were dropped', () => counters(one).dropped.malformed === 500)
    expect(logger.lines.filter(({ message }) => message === 'bus: message dropped').length).toBeLessThan(10)
  })

  it.each([
    ['tombstones', { body: null }],
    ['payloads of a newer version', { headers: { ...EVENT_HEADERS, 'payload-version': 99 } }],
    ['events in a form that is none', { contentType: 'application/cloudevents+json' }],
  ])('in a flood of %s is counted, and logged at most once a second', async (_, message) => {
    const { join, intruder } = world()
    const logger = keepingLogger()
    const binderOptions = { logger }
    const [one, stranger] = await Promise.all([join({ instance: 'a', logger, binderOptions }), intruder()])
    for (let n = 0; n < 200; n++) await stranger.send({}, message)
    await until('all were dropped', () => counters(one).dropped.malformed === 200)
    expect(logger.lines.filter(({ level }) => level === 'warn' || level === 'error').length).toBeLessThan(10)
  })

  it('a message that no handler can read fails and blocks nothing', async () => {
    const { join, intruder } = world()
    const [one, stranger] = await Promise.all([join({ instance: 'a', maxPayloadBytes: 100_000 }), intruder()])
    const bodies = ['', 'null', '{', '[1]', '{"n":"x"}', '{"__proto__":{"n":1}}', `${'['.repeat(50_000)}`, '\xff\xfe']
    for (const text of bodies) await stranger.send(EVENT_HEADERS, { body: Buffer.from(text, 'latin1') })
    await stranger.send(EVENT_HEADERS, { body: Buffer.alloc(100_001, 0x20) })
    await stranger.send(EVENT_HEADERS, { body: null })
    await stranger.send({ ...EVENT_HEADERS, 'bus-event': '__proto__' })
    await stranger.send({ ...EVENT_HEADERS, 'bus-event': 'constructor' })
    await stranger.send(
      { ...EVENT_HEADERS, 'bus-event': 'concordat.config-changed' },
      {
        body: Buffer.from('{"name":"__proto__","value":{"polluted":1},"__proto__":{"name":"x"}}'),
      },
    )
    await until('all failed', () => counters(one).failed === bodies.length)
    await until('the others were ignored', () => counters(one).ignored === 3)
    expect(counters(one).dropped.too_large).toBe(1)
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
    await one.bus.publish(Ping, { n: 1 }, { to: '**', ackTimeoutMs: 5_000 })
    expect(one.pings).toEqual([1])
  })
})

describe('authorize', () => {
  it('refuses at the sender, and sends nothing', async () => {
    const { join } = world()
    const { bus } = await join({ instance: 'a', authorize: ({ event }) => event !== 'ping' })
    const refused = bus.publish(Ping, { n: 1 }, { to: '**' })
    await expect(refused).rejects.toMatchObject({ code: 'bus.forbidden', event: 'ping', from: bus.address, to: '**' })
    expect(bus.health().counters.published).toBe(0)
  })

  it('refuses at the receiver messages of a sender without it: a failed answer and a line in the log', async () => {
    const { join } = world()
    const logger = keepingLogger()
    const asked: unknown[] = []
    const authorize = (request: unknown): boolean => {
      asked.push(request)
      return false
    }
    const [sender, receiver] = await Promise.all([join({ instance: 'a' }), join({ instance: 'b', authorize, logger })])
    const answer = await sender.bus.publish(Ping, { n: 1 }, { to: '**', ackTimeoutMs: 5_000 })
    expect(answer).toMatchObject({ acked: [sender.bus.address], failed: [{ error: { code: 'bus.forbidden' } }] })
    expect(asked).toEqual([{ event: 'ping', from: { service: 'orders', group: 'default', instance: 'a' }, to: '**' }])
    expect(receiver.pings).toEqual([])
    expect(counters(receiver)).toMatchObject({ refused: 1, failed: 1 })
    expect(logger.lines.map(({ message }) => message)).toContain('bus: event refused')
  })

  it.for([
    [
      'throws',
      () => {
        throw new Error('no directory')
      },
    ],
    ['answers with something that is not true', () => 'yes' as never],
    ['never answers', () => new Promise<boolean>(() => {})],
  ] as const)('refuses when it %s', async ([, authorize]) => {
    const { join } = world()
    const [sender, receiver] = await Promise.all([
      join({ instance: 'a' }),
      join({ instance: 'b', authorize, handlerTimeoutMs: 50 }),
    ])
    const answer = await sender.bus.publish(Ping, { n: 1 }, { to: 'orders:*:b', ackTimeoutMs: 5_000 })
    expect(answer.failed).toHaveLength(1)
    expect(receiver.pings).toEqual([])
  })
})
