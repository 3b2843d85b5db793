import { randomUUID } from 'node:crypto'
import type { DestinationSpec } from 'concordat/extension'
import { ConfigResourceTypes } from 'kafkajs'
import { it, onTestFinished } from 'vitest'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { attached, client, numbered, Recorder, subscribe } from './kit.ts'

const url = (): string => serverUrl('kafka') as string

describeWith(['kafka'], 'provisioning on Kafka', () => {
  const admin = async () => {
    const connection = client(url()).admin()
    onTestFinished(() => connection.disconnect())
    await connection.connect()
    return connection
  }
  const spec = (partitions: number, fields: Partial<DestinationSpec> = {}): DestinationSpec => ({
    name: `kp-${randomUUID().slice(0, 8)}`,
    partitions,
    groups: ['g'],
    ...fields,
  })

  it('refuses a topic with another number of partitions than declared', async ({ expect }) => {
    const topic = spec(3)
    await attached(url()).provision([topic])
    const other = attached(url())
    const attempt = other.provision([{ ...topic, partitions: 8 }])
    await expect(attempt).rejects.toMatchObject({ kind: 'mismatch', retryable: false, destination: topic.name })
    await expect(attempt).rejects.toThrow(/has 3 partitions on kafka, this service declares 8/)
    await other.provision([{ ...topic, partitions: 8, assumed: true }])
  })

  it('does not ask to correct a declaration that does not exist', async ({ expect }) => {
    const letters = spec(3)
    await attached(url()).provision([letters])
    const attempt = attached(url()).provision([{ ...letters, partitions: 1, deadLetters: true }])
    await expect(attempt).rejects.toThrow(
      `topic "${letters.name}" has 3 partitions and needs 1. Delete it once nothing is left in it: it is made again.`,
    )
  })

  it('keeps the partitions of retries when the channel has got more', async ({ expect }) => {
    const retries = spec(2, { keepsEach: true, delays: true })
    await attached(url()).provision([retries])
    for (const provision of ['create', 'check'] as const) {
      const transport = attached(url(), { provision })
      // Who reads them alone delays nothing.
      await transport.provision([{ ...retries, partitions: 4, delays: provision === 'create' }])
      const recorder = new Recorder()
      const subscription = await subscribe(transport, retries.name, recorder)
      const sent = numbered(retries.name, 8, [null])
      expect(await transport.publish(sent)).toEqual(sent.map(() => undefined))
      await until('all have come', () => recorder.got.length === sent.length)
      await subscription.close()
    }
  })

  it('follows a topic that gets more partitions while it runs', async ({ expect }) => {
    const topic = spec(2)
    const transport = attached(url())
    await transport.provision([topic])
    await (await admin()).createPartitions({ topicPartitions: [{ topic: topic.name, count: 4 }] })
    await transport.provision([topic])
    await expect(attached(url()).provision([topic])).rejects.toMatchObject({ kind: 'mismatch' })
  })

  it('with check creates nothing and names all missing or different settings in one error', async ({ expect }) => {
    const [missing, small, fine] = [spec(4), spec(2), spec(1)]
    await attached(url()).provision([small, fine])
    const checking = attached(url(), { provision: 'check' })
    await checking.provision([small, fine])
    const attempt = attached(url(), { provision: 'check' }).provision([missing, { ...small, partitions: 6 }, fine])
    await expect(attempt).rejects.toMatchObject({ kind: 'mismatch', retryable: false })
    await expect(attempt).rejects.toThrow(
      `topic "${missing.name}" is missing (4 partitions); topic "${small.name}" has 2 partitions, declared are 6`,
    )
    await expect(attempt).rejects.toThrow("provision: 'create'")
    expect(await (await admin()).listTopics()).not.toContain(missing.name)
  })

  it('with none neither creates nor checks topics, and uses the existing ones', async ({ expect }) => {
    const [missing, there] = [spec(4), spec(3)]
    await attached(url()).provision([there])
    const blind = attached(url(), { provision: 'none' })
    await blind.provision([missing, { ...there, partitions: 5 }])
    const recorder = new Recorder()
    await subscribe(blind, there.name, recorder)
    const outcomes = await blind.publish([...numbered(there.name, 2, ['k']), ...numbered(missing.name, 1, ['k'])])
    expect(outcomes.map((outcome) => outcome?.kind)).toEqual([undefined, undefined, 'unroutable'])
    expect(await (await admin()).listTopics()).not.toContain(missing.name)
  })

  it('makes topics of dead letters that accept the largest message', async ({ expect }) => {
    const letters = spec(1, { deadLetters: true })
    await attached(url(), { topicConfig: { 'max.message.bytes': '20000' } }).provision([letters])
    const { resources } = await (await admin()).describeConfigs({
      includeSynonyms: false,
      resources: [{ type: ConfigResourceTypes.TOPIC, name: letters.name }],
    })
    const limit = resources[0]?.configEntries.find(({ configName }) => configName === 'max.message.bytes')
    expect(limit?.configValue).toBe('104857600')
  })
})
