import { it, onTestFinished } from 'vitest'
import { runJava } from '../../support/java.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { attached, client, freshTopic, Recorder, subscribe } from './kit.ts'

const url = (): string => serverUrl('kafka') as string

/** Steps of transactions made by hand: `A` sends, `a` aborts, `c` commits. */
const byHand = ['A begin', 'A 1', 'A 2', 'B begin', 'B 1', 'A 3', 'B abort', 'A abort', 'A begin', 'A 4', 'A commit']

describeWith(['kafka'], 'Kafka and transactions of others', () => {
  it('delivers nothing of two aborted transactions of which the later ended first', async ({ expect }) => {
    const transport = attached(url())
    const topic = await freshTopic(transport, 1)
    const kafka = client(url())
    const producers = new Map(
      ['A', 'B'].map((name) => [
        name,
        kafka.producer({ transactionalId: `${topic}-${name}`, maxInFlightRequests: 1, idempotent: true }),
      ]),
    )
    for (const producer of producers.values()) {
      await producer.connect()
      onTestFinished(() => producer.disconnect())
    }
    const open = new Map<string, Awaited<ReturnType<ReturnType<typeof kafka.producer>['transaction']>>>()
    for (const step of byHand) {
      const [name, what] = step.split(' ') as [string, string]
      if (what === 'begin') open.set(name, (await producers.get(name)?.transaction()) as never)
      else if (what === 'abort') await open.get(name)?.abort()
      else if (what === 'commit') await open.get(name)?.commit()
      else await open.get(name)?.send({ topic, messages: [{ value: `${name}${what}` }] })
    }
    const recorder = new Recorder()
    await subscribe(transport, topic, recorder, { partitions: 1 })
    await until('the committed record came', () => values(recorder).includes('A4'))
    expect(values(recorder)).toEqual(['A4'])
  })

  it.for([
    { seed: 1, largest: 30_000, prefetchBytes: 64 * 1024 },
    { seed: 2, largest: 2_000, prefetchBytes: 16 << 20 },
  ])(
    'delivers in 100 rounds of overlapping transactions (seed $seed) the same as the Java client',
    async ({ seed, largest, prefetchBytes }, { expect }) => {
      const transport = attached(url())
      const topic = await freshTopic(transport, 2)
      const expected = await runJava('Transactions', [url(), topic, String(seed), '100', String(largest), 'read'])
      expect(expected.length).toBeGreaterThan(100)
      expect(expected.filter((line) => line.includes('aborted'))).toEqual([])
      const recorder = new Recorder()
      await subscribe(transport, topic, recorder, { partitions: 2, prefetchBytes })
      await until('everything came', () => recorder.got.length >= expected.length, 60_000)
      const seen = recorder.got.map(
        (delivery) => `${delivery.position.replace(/\D+/g, ' ').trim()} ${nameOf(delivery)}`,
      )
      const byPlace = (lines: readonly string[], partition: string): string[] =>
        lines.filter((line) => line.startsWith(`${partition} `))
      for (const partition of ['0', '1']) expect(byPlace(seen, partition)).toEqual(byPlace(expected, partition))
    },
  )
})

const nameOf = ({ message }: Recorder['got'][number]): string =>
  Buffer.from(message.body ?? [])
    .toString()
    .trim()

const values = (recorder: Recorder): string[] => recorder.got.map(nameOf)
