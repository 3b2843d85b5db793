import { silentLogger, systemClock } from 'concordat/core'
import type { Transport } from 'concordat/extension'
import { it, onTestFinished } from 'vitest'
import { withDeadline } from '../../../support/deadline.ts'
import { kafkajsOn, platformaticOn } from '../../../support/kafka-driver.ts'
import { describeWith, serverUrl } from '../../../support/servers/index.ts'
import { until } from '../../../support/until.ts'
import { freshTopic, KEYS, numbered, Recorder, range, subscribe } from '../kit.ts'

const url = (): string => serverUrl('kafka') as string

function opened(transport: Transport): Transport {
  transport.attach({ service: 'mixed', instance: 'mixed-1', logger: silentLogger, clock: systemClock })
  onTestFinished(() => transport.close())
  return withDeadline(transport, 10_000, systemClock)
}

const places = ({ got }: Recorder): unknown[] =>
  got.map(({ message, position }) => [message.key, position?.split(' ')[1]])

describeWith(['kafka'], 'two Kafka drivers on one topic', () => {
  it('put a key on the same partition, and read each other’s messages', async ({ expect }) => {
    const drivers = [opened(kafkajsOn(url())), opened(platformaticOn(url()))] as const
    const topic = await freshTopic(drivers[0])
    const keys = [...KEYS, 'größe', '', 'a'.repeat(300)]
    for (const driver of drivers)
      expect(await driver.publish(numbered(topic, 70, keys))).toEqual(range(70).map(() => undefined))
    for (const driver of drivers) {
      const recorder = new Recorder()
      const subscription = await subscribe(driver, topic, recorder, { group: null })
      await driver.publish(numbered(topic, 7, keys, 70))
      await until('its own came', () => recorder.got.length === 7)
      await subscription.close()
    }
    const readers = drivers.map((driver, i) => ({ driver, recorder: new Recorder(), group: `g${i}` }))
    for (const { driver, recorder, group } of readers) await subscribe(driver, topic, recorder, { group })
    await until('both have all', () => readers.every(({ recorder }) => recorder.got.length === 154))
    const [first, second] = readers.map(({ recorder }) => new Map(places(recorder) as Array<[string, string]>))
    expect(second).toEqual(first)
    for (const { recorder } of readers)
      expect(new Set(places(recorder).map((each) => JSON.stringify(each))).size).toBe(keys.length)
  })

  it('share one group: each message comes once, in order, as members of both come and go', async ({ expect }) => {
    const [one, other] = [opened(kafkajsOn(url())), opened(platformaticOn(url()))]
    const topic = await freshTopic(one)
    const [first, second] = [new Recorder(), new Recorder()]
    const all = (): number[] => [...first.numbers, ...second.numbers]
    let sent = 0
    const send = async (by: Transport, count: number): Promise<void> => {
      expect(await by.publish(numbered(topic, count, KEYS, sent))).toEqual(range(count).map(() => undefined))
      sent += count
      await until('they came', () => all().length >= sent)
    }
    const stays = await subscribe(other, topic, second)
    await send(one, 100)
    const comes = await subscribe(one, topic, first)
    await send(one, 100)
    await until('both have a share', async () => {
      await send(one, 4)
      return first.got.length > 0 && second.got.length > 0
    })
    await stays.close()
    await send(other, 100)
    expect(all().toSorted((a, b) => a - b)).toEqual(range(sent))
    for (const { got } of [first, second])
      for (const key of KEYS) {
        const numbers = got
          .filter(({ message }) => message.key === key)
          .map(({ message }) => Number(Buffer.from(message.body ?? [])))
        expect(numbers).toEqual(numbers.toSorted((a, b) => a - b))
      }
    await comes.close()
  })
})
