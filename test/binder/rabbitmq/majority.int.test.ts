import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { silentLogger, systemClock } from 'concordat/core'
import { expect, it, onTestFinished } from 'vitest'
import { startRabbitCluster } from '../../support/servers/cluster/index.ts'
import { describeWith } from '../../support/servers/index.ts'
import { admin, numbered } from './kit.ts'

describeWith(['rabbitmq'], 'a quorum queue without a majority', { private: true }, () => {
  it('holds up no message to another destination', async () => {
    const cluster = await startRabbitCluster()
    onTestFinished(() => cluster.stop())
    const [url = ''] = cluster.urls
    await admin(url, async (channel) => {
      await channel.assertExchange('plain', 'direct')
      await channel.assertQueue('plain')
      await channel.bindQueue('plain', 'plain', 'all')
    })
    const places = { healthy: { exchange: 'plain', type: 'direct', routingKey: 'all' } as const }
    const transport = rabbitTransport({ url, queueType: 'quorum', places })
    transport.attach({ service: 'tests', instance: 'tests', logger: silentLogger, clock: systemClock })
    onTestFinished(() => transport.close())
    await transport.provision([
      { name: 'halved', partitions: 1, groups: ['g'] },
      { name: 'healthy', partitions: 1, groups: [] },
    ])
    for (const server of cluster.servers.slice(1)) await server.kill()
    const send = (destination: string, count: number) =>
      transport.publish(numbered(destination, count, ['k']), { deadline: systemClock.monotonic() + 1_000 })
    const halved = send('halved', 1_000)
    for (let n = 0; n < 50; n++) expect(await send('healthy', 1)).toEqual([undefined])
    expect((await halved).every((outcome) => outcome?.retryable === true)).toBe(true)
    expect(await send('healthy', 1)).toEqual([undefined])
  })
})
