import { type Channel, type EncodedMessage, redrive, TransportError } from 'concordat/binder'
import type { Transport } from 'concordat/extension'
import { type MemoryBroker, memoryTransport } from 'concordat/memory'
import { describe, expect, it } from 'vitest'
import { until } from '../../support/until.ts'
import { channel, run, withLetters } from './kit.ts'

const tooLarge = (destination: string): TransportError =>
  new TransportError({ kind: 'too_large', message: 'too large on purpose', transport: 'memory', destination })

const RETRIES = 'orders.g.retry'

/** Transport that takes no message to the channel or its retries with more than `most` bytes of headers, as a broker that counts them. */
function limited(broker: MemoryBroker, most: number, sent: EncodedMessage[] = []): Transport {
  const transport = memoryTransport({ broker })
  const publish = transport.publish.bind(transport)
  transport.publish = async (messages, until) => {
    const outcomes = messages.map(({ destination, headers }) =>
      [channel.name, RETRIES].includes(destination) && JSON.stringify(headers).length > most
        ? tooLarge(destination)
        : undefined,
    )
    const taken = messages.filter((_, i) => outcomes[i] === undefined)
    sent.push(...taken)
    const answers = [...(await publish(taken, until))]
    return outcomes.map((outcome) => outcome ?? answers.shift())
  }
  return transport
}

describe('a letter that is too large with what a redrive adds to it', () => {
  const through = (transport: Transport, to: 'channel' | 'group' = 'channel') =>
    redrive({ service: 'operator', transport }, channel as unknown as Channel, 'g', { to })

  it('goes back as it was sent', async () => {
    const { broker, state, status } = await withLetters(3)
    state.isBroken = false
    // The headers of these messages are empty; those of a run are not.
    expect(await through(limited(broker, 2))).toMatchObject({ sent: 3, kept: 0, complete: true })
    await until('all are handled', () => status().handled === 3)
  })

  it.each([
    [
      'that it was not tried, where that fits',
      80,
      { 'concordat-retry-attempts': 0, 'concordat-retry-channel': 'orders' },
    ],
    ['nothing more', 2, {}],
  ])('goes back to its group with headers that say %s', async (_, most, headers) => {
    const { broker } = await withLetters(2)
    const sent: EncodedMessage[] = []
    expect(await through(limited(broker, most, sent), 'group')).toMatchObject({ sent: 2, kept: 0, complete: true })
    const back = sent.filter(({ destination }) => destination === RETRIES)
    expect(back.map((message) => message.headers)).toEqual([headers, headers])
  })

  it('is kept when it is too large as it was, and the others go back', async () => {
    const { broker, state, status } = await withLetters(3)
    state.isBroken = false
    let count = 0
    const transport = limited(broker, 10_000)
    const publish = transport.publish.bind(transport)
    transport.publish = async (messages, until) => {
      const isFirst = messages[0]?.destination === channel.name && count++ < 2
      const refusal = tooLarge(channel.name)
      return isFirst ? messages.map(() => refusal) : publish(messages, until)
    }
    await expect(through(transport)).rejects.toMatchObject({ code: 'binder.send', cause: { kind: 'too_large' } })
    await until('the others are handled', () => status().handled === 2)
    expect(await run(broker)).toMatchObject({ sent: 1, kept: 0, complete: true })
    await until('all are handled', () => status().handled === 3)
  })
})
