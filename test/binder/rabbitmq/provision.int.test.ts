import { expect, it } from 'vitest'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { admin, attached, freshDestination, numbers, Recorder, subscribe } from './kit.ts'

describeWith(['rabbitmq'], 'provisioning on RabbitMQ', () => {
  const url = serverUrl('rabbitmq') ?? ''

  it('is idempotent and safe from several at once', async () => {
    const destination = freshDestination(url, ['a', 'b'])
    const spec = { name: destination, partitions: 4, groups: ['a', 'b'] }
    const transports = numbers(4).map(() => attached({ url }))
    await Promise.all(transports.map((transport) => transport.provision([spec])))
    await transports[0]?.provision([spec, spec])
    const state = await admin(url, (channel) => channel.checkQueue(`${destination}:b:3`))
    expect(state.messageCount).toBe(0)
  })

  it('finds out that two services disagree on the partitions, and names both numbers', async () => {
    const destination = freshDestination(url)
    await attached({ url }).provision([{ name: destination, partitions: 4, groups: ['g'] }])
    const other = attached({ url })
    const refused = { code: 'binder.transport', kind: 'mismatch', retryable: false, destination }
    const sender = other.provision([{ name: destination, partitions: 8, groups: [] }])
    await expect(sender).rejects.toMatchObject(refused)
    await expect(sender).rejects.toThrow(/has 4 partitions on RabbitMQ, this service declares 8/)
    await expect(subscribe(other, destination, new Recorder(), { partitions: 2, group: null })).rejects.toMatchObject(
      refused,
    )
  })

  it('refuses an exchange that is something else', async () => {
    const destination = freshDestination(url)
    await admin(url, (channel) => channel.assertExchange(destination, 'topic'))
    const attempt = attached({ url }).provision([{ name: destination, partitions: 4, groups: ['g'] }])
    await expect(attempt).rejects.toMatchObject({ kind: 'mismatch', retryable: false })
    await expect(attempt).rejects.toThrow(new RegExp(`could not declare exchange "${destination}".*received 'direct'`))
  })

  it('refuses a queue that was declared otherwise', async () => {
    const destination = freshDestination(url)
    await attached({ url }).provision([{ name: destination, partitions: 4, groups: ['g'] }])
    const quorum = attached({ url, queueType: 'quorum' })
    const attempt = quorum.provision([{ name: destination, partitions: 4, groups: ['g'] }])
    await expect(attempt).rejects.toMatchObject({ kind: 'mismatch', retryable: false })
    await expect(attempt).rejects.toThrow(/declared otherwise/)
  })

  it('is unavailable, and worth another try, without a broker', async () => {
    const transport = attached({ url: 'amqp://127.0.0.1:1' })
    await expect(transport.provision([{ name: 'x', partitions: 1, groups: [] }])).rejects.toMatchObject({
      kind: 'unavailable',
      retryable: true,
    })
    expect(transport.health().status).toBe('down')
  })

  it('is refused, and worth another try, with a wrong password, which is not shown', async () => {
    const address = new URL(url)
    address.password = 'hunter2'
    const transport = attached({ url: address.href })
    const attempt = transport.provision([{ name: 'x', partitions: 1, groups: [] }])
    await expect(attempt).rejects.toMatchObject({ kind: 'refused', retryable: true })
    await expect(attempt).rejects.toThrow(/^((?!hunter2).)*Check the user and password\.$/)
  })

  it('takes a connect function, told the purpose of each connection', async () => {
    const { connect } = await import('amqplib')
    const names: string[] = []
    const transport = attached({
      connect: (name) => {
        names.push(name)
        return connect(`${url}?heartbeat=10`)
      },
    })
    const destination = freshDestination(url)
    await transport.provision([{ name: destination, partitions: 4, groups: ['g'] }])
    await transport.publish([])
    expect(transport.health()).toEqual({ status: 'up' })
    expect(names).toEqual([expect.stringMatching(/^tests tests-[0-9a-f]+ consume$/)])
  })
})
