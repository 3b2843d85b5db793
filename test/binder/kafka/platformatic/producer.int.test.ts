import { Connection } from '@platformatic/kafka'
import { platformaticTransport } from 'concordat/binder/kafka/platformatic'
import { silentLogger, systemClock } from 'concordat/core'
import type { Transport } from 'concordat/extension'
import { it, onTestFinished } from 'vitest'
import { withDeadline } from '../../../support/deadline.ts'
import { describeWith, serverUrl } from '../../../support/servers/index.ts'
import { until } from '../../../support/until.ts'
import { freshTopic, KEYS, numbered, Recorder, range, subscribe } from '../kit.ts'

const PRODUCE = 0

/** Transport that loses answers to produce requests: the broker has executed the request. */
function losing(
  losses: number,
  publishTimeoutMs: number,
): { readonly transport: Transport; readonly lost: () => number; readonly restore: () => void } {
  let lost = 0
  let most = losses
  class Losing extends Connection {
    constructor(...options: ConstructorParameters<typeof Connection>) {
      super(...options)
      const send = this.send.bind(this) as (...args: unknown[]) => void
      Object.assign(this, { send: (...args: unknown[]): void => send(...this.#withLosses(args)) })
    }

    #withLosses(args: unknown[]): unknown[] {
      if (args[0] !== PRODUCE || lost >= most) return args
      const callback = args.at(-1) as (error: Error) => void
      return args.with(-1, () => {
        lost++
        this.socket.destroy()
        callback(new Error('the answer was lost'))
      })
    }
  }
  const brokers = (serverUrl('kafka') as string).split(',')
  const transport = platformaticTransport({ kafka: { Connection: Losing, bootstrapBrokers: brokers } })
  transport.attach({ service: 'losing', instance: 'losing-1', logger: silentLogger, clock: systemClock })
  onTestFinished(() => transport.close())
  return {
    transport: withDeadline(transport, publishTimeoutMs, systemClock),
    lost: () => lost,
    restore: () => void (most = 0),
  }
}

describeWith(['kafka'], 'publishing to Kafka on platformatic', () => {
  it('writes repeated batches once, in order', async ({ expect }) => {
    const { transport, lost } = losing(3, 20_000)
    const topic = await freshTopic(transport)
    for (let from = 0; from < 200; from += 50)
      expect(await transport.publish(numbered(topic, 50, KEYS, from))).toEqual(range(50).map(() => undefined))
    expect(lost()).toBe(3)
    const recorder = new Recorder()
    await subscribe(transport, topic, recorder)
    await transport.publish(numbered(topic, 4, KEYS, 200))
    await until('the last came', () =>
      KEYS.every((key) => recorder.got.some(({ message }) => message.key === key && last(message.body) >= 200)),
    )
    expect(recorder.numbers.toSorted((a, b) => a - b)).toEqual(range(204))
    for (const key of KEYS) {
      const numbers = recorder.got.filter(({ message }) => message.key === key).map(({ message }) => last(message.body))
      expect(numbers).toEqual(numbers.toSorted((a, b) => a - b))
    }
  })

  it('loses no message sent after one that was never confirmed', async ({ expect }) => {
    const { transport, lost, restore } = losing(Number.POSITIVE_INFINITY, 2_000)
    const topic = await freshTopic(transport)
    const unknown = await transport.publish(numbered(topic, 4, KEYS))
    expect(unknown.map((outcome) => outcome?.kind)).toEqual(range(4).map(() => 'timeout'))
    expect(lost()).toBeGreaterThan(0)
    restore()
    expect(await transport.publish(numbered(topic, 4, KEYS, 4))).toEqual(range(4).map(() => undefined))
    const recorder = new Recorder()
    await subscribe(transport, topic, recorder)
    await until('all came', () => new Set(recorder.numbers).size === 8)
    expect(recorder.numbers).toHaveLength(8)
  })
})

function last(body: Uint8Array | null): number {
  return Number(Buffer.from(body ?? []).toString())
}
