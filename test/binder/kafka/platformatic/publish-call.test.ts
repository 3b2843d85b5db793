/** Decisions by sequence numbers when a broker's answer does not say whether records were written. */
import { systemClock } from 'concordat/core'
import { describe, it } from 'vitest'
import { gate, until } from '../../../support/until.ts'
import { type Cluster, type Envelope, IdempotentProducer, recordBytes } from '../inside.ts'

const producerOn = (cluster: object, requestTimeoutMs = 1_000): IdempotentProducer =>
  new IdempotentProducer({ cluster: cluster as Cluster, clock: systemClock, compression: 'none', requestTimeoutMs })

/** Broker that leads the only partition and answers each attempt with the next of `answers`. */
function producing(answers: readonly (string | undefined)[]) {
  let identities = 0
  let attempts = 0
  const cluster = {
    any: async () => ({ id: ++identities, epoch: 0 }),
    topic: async () => ({ name: 't', errorCode: 0, isInternal: false, partitions: [{ partition: 0, leader: 1 }] }),
    forgetTopic: () => {},
    call: async () => [
      { topic: 't', partition: 0, error: answers[Math.min(attempts++, answers.length - 1)], detail: null },
    ],
    close: () => {},
  }
  const producer = producerOn(cluster)
  return { producer, identities: () => identities }
}

function envelope(): Envelope {
  const record = { key: 'k', value: Buffer.from('x'), headers: {} }
  return { ...record, topic: 't', bytes: recordBytes(record), index: 0, place: 0 }
}

describe('an answer with an unknown outcome', () => {
  it.for(['NOT_LEADER_FOR_PARTITION', 'KAFKA_STORAGE_ERROR', 'UNKNOWN_SERVER_ERROR', 'REQUEST_TIMED_OUT'])(
    'costs the identity when time is up, so that its numbers are not used for other records: %s',
    async (error, { expect }) => {
      const { producer, identities } = producing([error])
      await expect(producer.send([envelope()], 250)).rejects.toThrow()
      expect(identities()).toBe(1)
      await expect(producer.send([envelope()], 250)).rejects.toThrow()
      expect(identities()).toBe(2)
    },
  )

  it('costs nothing when the same records are confirmed afterwards', async ({ expect }) => {
    const { producer, identities } = producing(['NOT_LEADER_FOR_PARTITION', undefined])
    expect(await producer.send([envelope()], 5_000)).toEqual([])
    expect(await producer.send([envelope()], 5_000)).toEqual([])
    expect(identities()).toBe(1)
  })

  it('costs nothing when records were certainly refused', async ({ expect }) => {
    const { producer, identities } = producing(['NOT_ENOUGH_REPLICAS'])
    await expect(producer.send([envelope()], 250)).rejects.toThrow()
    await expect(producer.send([envelope()], 250)).rejects.toThrow()
    expect(identities()).toBe(1)
  })
})

describe('calls that overlap', () => {
  it('use one identity, also when both begin without, and each is told what is confirmed at once', async ({
    expect,
  }) => {
    const [asked, sick] = [gate(), gate()]
    let identities = 0
    const cluster = {
      any: async () => {
        await asked.opened
        return { id: ++identities, epoch: 0 }
      },
      topic: async (name: string) => ({
        name,
        errorCode: 0,
        partitions: [{ partition: 0, leader: name === 'sick' ? 2 : 1 }],
      }),
      forgetTopic: () => {},
      call: async (leader: number) => {
        if (leader === 2) await sick.opened
        const topics = leader === 2 ? ['sick'] : ['t', 'other']
        return topics.map((topic) => ({ topic, partition: 0, error: undefined, detail: null }))
      },
      close: () => {},
    }
    const producer = producerOn(cluster, 60_000)
    const confirmed: string[] = []
    const confirm = ({ topic }: Envelope): void => void confirmed.push(topic)
    const both = producer.send([{ ...envelope(), topic: 'sick' }, envelope()], 60_000, confirm)
    const beside = producer.send([{ ...envelope(), topic: 'other' }], 60_000, confirm)
    asked.open()
    expect(await beside).toEqual([])
    await until('both are known', () => confirmed.length === 2)
    expect(confirmed.toSorted()).toEqual(['other', 't'])
    sick.open()
    expect(await both).toEqual([])
    expect([confirmed.at(-1), identities]).toEqual(['sick', 1])
  })
})
