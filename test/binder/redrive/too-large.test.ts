import { type Channel, redrive, TransportError } from 'concordat/binder'
import type { Transport } from 'concordat/extension'
import { type MemoryBroker, memoryTransport } from 'concordat/memory'
import { describe, expect, it } from 'vitest'
import { until } from '../../support/until.ts'
import { channel, run, withLetters } from './kit.ts'

const tooLarge = (destination: string): TransportError =>
  new TransportError({ kind: 'too_large', message: 'too large on purpose', transport: 'memory', destination })

/** Transport that takes no message to the channel with more than `most` bytes of headers, as a broker that counts them. */
function limited(broker: MemoryBroker, most: number): Transport {
  const transport = memoryTransport({ broker })
  const publish = transport.publish.bind(transport)
  transport.publish = async (messages, until) => {
    const outcomes = messages.map(({ destination, headers }) =>
      destination === channel.name && JSON.stringify(headers).length > most ? tooLarge(destination) : undefined,
    )
    const taken = messages.filter((_, i) => outcomes[i] === undefined)
    const answers = [...(await publish(taken, until))]
    return outcomes.map((outcome) => outcome ?? answers.shift())
  }
  return transport
}

describe('a letter that is too large with what a redrive adds to it', () => {
  const through = (transport: Transport) =>
    redrive({ service: 'operator', transport }, channel as unknown as Channel, 'g', { to: 'channel' })

  it('goes back as it was sent', async () => {
    const { broker, state, status } = await withLetters(3)
    state.isBroken = false
    // The headers of these messages are empty; those of a run are not.
    expect(await through(limited(broker, 2))).toMatchObject({ sent: 3, kept: 0, complete: true })
    await until('all are handled', () => status().handled === 3)
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
