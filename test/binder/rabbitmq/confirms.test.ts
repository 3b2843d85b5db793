import type { EncodedMessage } from 'concordat/binder'
import type { PublishOutcome, Transport } from 'concordat/extension'
import { describe, expect, it } from 'vitest'
import { drain, FakeClock } from '../../support/locks/fake-clock.ts'
import { FakeBroker, type FakeChannel, type Published } from './fake-broker.ts'
import { attached } from './kit.ts'
import { plainMessage } from './messages.ts'

const TIMEOUT_MS = 10_000
/** Much longer than a broker takes to answer. */
const PATIENCE_MS = 500
/** Messages without an answer that a destination may have. */
const MOST_UNANSWERED = 256

async function setup(partitions = 1, channelMax = 2_047) {
  const clock = new FakeClock()
  const broker = new FakeBroker()
  broker.channelMax = channelMax
  const transport = attached({ connect: broker.connect }, TIMEOUT_MS, clock)
  for (const name of ['orders', 'refunds']) await transport.provision([{ name, partitions, groups: ['g'] }])
  await publish(transport, [message('warm')], () => broker.publishing.confirm())
  return { broker, transport, clock }
}

const message = (id: string, fields: Partial<EncodedMessage> = {}): EncodedMessage =>
  plainMessage({ id, destination: 'orders', key: 'k', ...fields })

/** Publishes, waits until it is written, plays the broker's part, and waits for the outcomes. */
async function publish(
  transport: Transport,
  messages: readonly EncodedMessage[],
  then: () => void | Promise<void>,
): Promise<readonly PublishOutcome[]> {
  const outcomes = transport.publish(messages)
  await drain()
  await then()
  return outcomes
}

/** The open channel on which this message is unanswered. */
function channelOf(broker: FakeBroker, id: string): FakeChannel {
  const channel = broker.latest('publish').channels.find((each) => each.isOpen && ids(each).includes(id))
  if (channel === undefined) throw new Error(`${id} is on no channel`)
  return channel
}

const ids = ({ published }: FakeChannel): unknown[] => published.map(({ id }) => id)

const kinds = (outcomes: readonly PublishOutcome[]): unknown[] => outcomes.map((outcome) => outcome?.kind)

describe('confirms of RabbitMQ', () => {
  it('with `multiple` leave only messages returned before unroutable', async () => {
    const { broker, transport } = await setup()
    const outcomes = await publish(
      transport,
      ['a', 'b', 'c'].map((id) => message(id)),
      () => {
        broker.publishing.return(broker.publishing.published[1] as Published)
        broker.publishing.confirm(3)
      },
    )
    expect(kinds(outcomes)).toEqual([undefined, 'unroutable', undefined])
  })

  it('distinguish two messages with one id by their destination', async () => {
    const { broker, transport } = await setup(4)
    const twice = [message('a', { key: null }), message('a', { key: null })]
    const outcomes = await publish(transport, twice, () => {
      broker.publishing.return(broker.publishing.published[1] as Published)
      broker.publishing.confirm()
    })
    expect(kinds(outcomes)).toEqual([undefined, 'unroutable'])
  })

  it('a missing confirm of a returned message leaves it unknown, and the next try is not refused for it', async () => {
    const { broker, transport } = await setup()
    const outcomes = await publish(transport, [message('a')], () => {
      broker.publishing.return(broker.publishing.published[0] as Published)
      broker.latest('publish').break(new Error('Heartbeat timeout'))
    })
    expect(kinds(outcomes)).toEqual(['unavailable'])
    const again = publish(transport, [message('a')], () => broker.publishing.confirm())
    expect(kinds(await again)).toEqual([undefined])
  })

  it('refuse one and not the others', async () => {
    const { broker, transport } = await setup()
    const outcomes = await publish(transport, [message('a'), message('b')], () => {
      broker.publishing.refuse()
      broker.publishing.confirm()
    })
    expect(kinds(outcomes)).toEqual(['refused', undefined])
  })

  it('have no effect after the deadline', async () => {
    const { broker, transport, clock } = await setup()
    const outcomes = await publish(transport, [message('a'), message('b')], () => clock.advance(TIMEOUT_MS))
    expect(kinds(outcomes)).toEqual(['timeout', 'timeout'])
    const next = transport.publish([message('c')])
    await drain()
    expect(broker.publishing.published.map(({ id }) => id)).toEqual(['a', 'b', 'c'])
    broker.publishing.confirm(3)
    expect(kinds(await next)).toEqual([undefined])
  })

  it('are awaited during an alarm, and unwritten messages follow in order after it', async () => {
    const { broker, transport, clock } = await setup()
    const early = transport.publish([message('early')])
    await drain()
    broker.latest('publish').emit('blocked', 'low on memory')
    const late = transport.publish([message('late'), message('later')])
    await clock.advance(TIMEOUT_MS - 1)
    expect(broker.publishing.published.map(({ id }) => id)).toEqual(['early'])
    const detail = 'RabbitMQ takes no messages for now (resource alarm: low on memory)'
    expect(transport.health()).toEqual({ status: 'down', detail })
    broker.latest('publish').emit('unblocked')
    expect(transport.health().status).toBe('up')
    expect(broker.publishing.published.map(({ id }) => id)).toEqual(['early', 'late', 'later'])
    broker.publishing.confirm()
    expect(kinds([...(await early), ...(await late)])).toEqual([undefined, undefined, undefined])
  })

  it('a message that an alarm outlasts is refused, and never written after its second attempt', async () => {
    const { broker, transport, clock } = await setup()
    broker.latest('publish').emit('blocked', 'low on disk')
    const outcomes = await publish(transport, [message('a')], () => clock.advance(TIMEOUT_MS))
    expect(outcomes[0]).toMatchObject({ kind: 'refused', retryable: true })
    expect(outcomes[0]?.message).toContain('takes no messages (low on disk)')
    broker.latest('publish').emit('unblocked')
    await drain()
    expect(broker.publishing.published).toEqual([])
  })

  it('a written message that an alarm outlasts may have arrived, and says so', async () => {
    const { broker, transport, clock } = await setup()
    const written = transport.publish([message('a')])
    await drain()
    broker.latest('publish').emit('blocked', 'low on memory')
    await clock.advance(TIMEOUT_MS)
    const [outcome] = await written
    expect(outcome).toMatchObject({ kind: 'timeout', retryable: true })
    expect(outcome?.message).toMatch(/it may have arrived. RabbitMQ takes no messages \(low on memory\)/)
  })

  it('messages that wait for an alarm go to the next connection when theirs ends', async () => {
    const { broker, transport, clock } = await setup()
    const old = broker.latest('publish')
    old.emit('blocked', 'low on memory')
    const waiting = transport.publish([message('a', { key: 'other' })])
    old.break(new Error('Heartbeat timeout'))
    await clock.advance(1_000)
    expect(broker.latest('publish')).not.toBe(old)
    broker.publishing.confirm()
    expect(kinds(await waiting)).toEqual([undefined])
  })

  it('lost with a channel that the broker closed: each is sent again alone, and one outcome for each', async () => {
    const { broker, transport } = await setup()
    const outcomes = transport.publish(['a', 'bad', 'c'].map((id) => message(id)))
    await drain()
    broker.publishing.confirm(1)
    broker.publishing.fail(406, 'PRECONDITION_FAILED - message size 9 is larger than configured max size 1')
    const sent: (string | undefined)[] = []
    for (let left = 2; left > 0; left--) {
      await drain()
      const { published } = broker.publishing
      expect(published).toHaveLength(1)
      sent.push(published[0]?.id)
      if (published[0]?.id === 'bad') broker.publishing.fail(406, 'PRECONDITION_FAILED - message size 9 is larger')
      else broker.publishing.confirm()
    }
    expect(sent).toEqual(['bad', 'c'])
    expect(kinds(await outcomes)).toEqual([undefined, 'too_large', undefined])
  })

  it('that are missing for one destination hold up no message to another', async () => {
    const { broker, transport } = await setup()
    const stuck = transport.publish([message('stuck', { destination: 'refunds' })])
    await drain()
    const silent = channelOf(broker, 'stuck')
    const other = transport.publish([message('other')])
    await drain()
    expect(ids(silent)).toEqual(['stuck'])
    channelOf(broker, 'other').confirm()
    expect(kinds(await other)).toEqual([undefined])
    silent.confirm()
    expect(kinds(await stuck)).toEqual([undefined])
  })

  it('of the first message to a routing key are awaited before the channel gets the next one', async () => {
    const { broker, transport } = await setup()
    const outcomes = transport.publish(['a', 'b', 'c'].map((id) => message(id, { destination: 'refunds' })))
    await drain()
    expect(ids(channelOf(broker, 'a'))).toEqual(['a'])
    channelOf(broker, 'a').refuse()
    await drain()
    expect(ids(channelOf(broker, 'b'))).toEqual(['b'])
    channelOf(broker, 'b').confirm()
    await drain()
    const rest = transport.publish([message('d', { destination: 'refunds' })])
    await drain()
    expect(ids(channelOf(broker, 'c'))).toEqual(['c', 'd'])
    channelOf(broker, 'c').confirm()
    expect(kinds([...(await outcomes), ...(await rest)])).toEqual(['refused', undefined, undefined, undefined])
  })

  it('that are missing for many messages keep the next ones from the broker, also when their time has run out', async () => {
    const { broker, transport, clock } = await setup()
    const many = Array.from({ length: MOST_UNANSWERED + 10 }, (_, n) => message(`m${n}`))
    const outcomes = transport.publish(many, { deadline: clock.monotonic() + 1_000 })
    await drain()
    expect(broker.publishing.published).toHaveLength(MOST_UNANSWERED)
    await clock.advance(1_000)
    expect(kinds(await outcomes).filter((kind) => kind === 'unavailable')).toHaveLength(10)
    const next = transport.publish([message('next')])
    await drain()
    const silent = broker.publishing
    expect(ids(silent)).not.toContain('next')
    silent.confirm()
    await drain()
    expect(ids(silent)).toEqual(['next'])
    silent.confirm()
    expect(kinds(await next)).toEqual([undefined])
  })

  it('of the first message are awaited again on a new channel', async () => {
    const { broker, transport, clock } = await setup()
    broker.latest('publish').break(new Error('Heartbeat timeout'))
    const outcomes = transport.publish(['a', 'b'].map((id) => message(id)))
    await clock.advance(1_000)
    expect(ids(broker.publishing)).toEqual(['a'])
    broker.publishing.confirm()
    await drain()
    expect(ids(broker.publishing)).toEqual(['b'])
    broker.publishing.confirm()
    expect(kinds(await outcomes)).toEqual([undefined, undefined])
  })

  it('that were missing once for many destinations leave the connection enough channels', async () => {
    const { broker, transport, clock } = await setup(1, 20)
    for (const destination of Array.from({ length: 40 }, (_, n) => `orders-${n}`)) {
      await transport.provision([{ name: destination, partitions: 1, groups: ['g'] }])
      const send = (...ids: readonly string[]) => transport.publish(ids.map((id) => message(id, { destination })))
      const warm = send('warm')
      await drain()
      channelOf(broker, 'warm').confirm()
      await warm
      const late = send('a', 'b')
      await drain()
      channelOf(broker, 'a').fail(403, 'ACCESS_REFUSED')
      await drain()
      await clock.advance(PATIENCE_MS)
      for (const id of ['a', 'b']) {
        await drain()
        channelOf(broker, id).confirm()
      }
      expect(kinds(await late)).toEqual([undefined, undefined])
    }
  })

  it('that are missing for more destinations than there are channels keep the order of each of them', async () => {
    const { broker, transport } = await setup(1, 3)
    const names = ['orders', 'refunds', 'bills', 'notes', 'tasks']
    for (const name of names) await transport.provision([{ name, partitions: 1, groups: ['g'] }])
    const sent: Array<Promise<readonly PublishOutcome[]>> = []
    for (const n of [1, 2, 3])
      for (const destination of names) sent.push(transport.publish([message(`${destination}-${n}`, { destination })]))
    const written: string[] = []
    const channels = (): readonly FakeChannel[] => broker.latest('publish').channels
    await drain()
    while (channels().some(({ published }) => published.length > 0)) {
      for (const channel of channels()) {
        written.push(...channel.published.map(({ id }) => String(id)))
        channel.confirm()
      }
      await drain()
    }
    expect(kinds((await Promise.all(sent)).flat())).toEqual(Array.from({ length: 15 }, () => undefined))
    for (const name of names)
      expect(written.filter((id) => id.startsWith(name))).toEqual([`${name}-1`, `${name}-2`, `${name}-3`])
    expect(channels().length).toBeLessThanOrEqual(3)
  })

  it('that are missing at the deadline hold up no message behind them, and do not let it be blamed', async () => {
    const { broker, transport, clock } = await setup()
    const expired = transport.publish([message('stuck')])
    await clock.advance(TIMEOUT_MS / 2)
    const behind = transport.publish([message('behind')])
    await drain()
    broker.publishing.fail(403, 'ACCESS_REFUSED')
    await clock.advance(TIMEOUT_MS / 2)
    expect(kinds(await expired)).toEqual(['timeout'])
    expect(ids(broker.publishing)).toEqual(['stuck', 'behind'])
    broker.publishing.fail(403, 'ACCESS_REFUSED')
    await drain()
    expect(ids(broker.publishing)).toEqual(['behind'])
    broker.publishing.confirm()
    expect(kinds(await behind)).toEqual([undefined])
  })

  it('that are missing are the reason given for a message that waits behind them', async () => {
    const { broker, transport, clock } = await setup()
    void transport.publish([message('stuck'), message('second')])
    await drain()
    broker.publishing.fail(403, 'ACCESS_REFUSED')
    const behind = transport.publish([message('behind')], { deadline: clock.monotonic() + PATIENCE_MS })
    await clock.advance(PATIENCE_MS)
    const [outcome] = await behind
    expect(outcome?.message).toContain('RabbitMQ did not answer earlier messages')
  })
})
