import type { DestinationSpec } from 'concordat/extension'
import { expect, it } from 'vitest'
import { describeWith, serverUrl } from '../../../support/servers/index.ts'
import { until } from '../../../support/until.ts'
import { admin, attached, freshDestination, numbered, numbers, Recorder, subscribe } from '../kit.ts'

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
    await expect(sender).rejects.toThrow(/has 4 partitions on rabbitmq, this service declares 8/)
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

  it.each(['create', 'check'] as const)(
    'with %s uses the existing partitions when none were declared',
    async (provision) => {
      const destination = freshDestination(url)
      await attached({ url }).provision([{ name: destination, partitions: 4, groups: ['g'] }])
      const relay = attached({ url, provision })
      await relay.provision([{ name: destination, partitions: 9, groups: [], assumed: true }])
      const outcomes = await relay.publish(numbered(destination, 20, ['a', 'b', 'c', 'd', 'e', 'f']))
      expect(outcomes).toEqual(outcomes.map(() => undefined))
    },
  )

  it('with check creates nothing and names all missing or different settings in one error', async () => {
    const [missing, there] = [freshDestination(url), freshDestination(url)]
    await attached({ url }).provision([{ name: there, partitions: 2, groups: ['g'] }])
    const checking = attached({ url, provision: 'check' })
    await checking.provision([{ name: there, partitions: 2, groups: ['g'] }])
    const attempt = checking.provision([
      { name: missing, partitions: 1, groups: [] },
      { name: there, partitions: 3, groups: ['g'] },
    ])
    await expect(attempt).rejects.toMatchObject({ kind: 'mismatch', retryable: false })
    await expect(attempt).rejects.toThrow(
      `exchange "${missing}" is missing; exchange "${missing}:partitions" is missing; ` +
        `exchange "${there}:partitions" says 2 partitions, another number is declared; queue "${there}:g:2" is missing`,
    )
    const quorum = attached({ url, provision: 'check', queueType: 'quorum' })
    await expect(quorum.provision([{ name: there, partitions: 2, groups: ['g'] }])).rejects.toThrow(
      new RegExp(
        `queue "${there}:g:0" differs: inequivalent arg 'x-queue-type'.*received 'quorum' but current is 'classic'`,
      ),
    )
    await expect(admin(url, (channel) => channel.checkExchange(missing))).rejects.toThrow('NOT_FOUND')
  })

  it('with check reports queue limits, partition counts and foreign queues separately', async () => {
    const [limited, taken] = [freshDestination(url, ['g'], 1), freshDestination(url, ['g'], 1)]
    const spec = (name: string): DestinationSpec => ({ name, partitions: 1, groups: ['g'] })
    const limits = { 'x-max-length': 20, 'x-overflow': 'reject-publish' }
    await attached({ url, queueArguments: limits }).provision([spec(limited)])
    await attached({ url }).provision([{ ...spec(taken), groups: [] }])
    const checking = attached({ url, provision: 'check', queueArguments: { ...limits, 'x-max-length': 10 } })
    const refusal = `queue "${limited}:g" differs: inequivalent arg 'x-max-length' .*received '10' but current is '20'`
    await expect(checking.provision([spec(limited)])).rejects.toThrow(new RegExp(refusal))
    const assuming = attached({ url }).provision([{ ...spec(limited), assumed: true }])
    await expect(assuming).rejects.toThrow(/could not declare queue .*inequivalent arg 'x-max-length'/)
    await admin(url, async (channel) => {
      await channel.assertQueue(`${taken}:g`, { exclusive: true })
      await expect(checking.provision([spec(taken)])).rejects.toThrow(
        `queue "${taken}:g" belongs to one connection alone (exclusive)`,
      )
    })
  })

  it('with none neither creates nor checks: missing destinations are unroutable', async () => {
    const [missing, there] = [freshDestination(url), freshDestination(url)]
    await attached({ url }).provision([{ name: there, partitions: 4, groups: ['g'] }])
    const blind = attached({ url, provision: 'none' })
    await blind.provision([
      { name: missing, partitions: 1, groups: ['g'] },
      { name: there, partitions: 4, groups: ['g'] },
    ])
    const outcomes = await blind.publish([...numbered(missing, 1, ['k']), ...numbered(there, 2, ['k'])])
    expect(outcomes.map((outcome) => outcome?.kind)).toEqual(['unroutable', undefined, undefined])
    const recorder = new Recorder()
    await subscribe(blind, there, recorder)
    await until('both came', () => recorder.got.length === 2)
  })

  it('is unavailable, and worth another try, without a broker', async () => {
    const transport = attached({ url: 'amqp://127.0.0.1:1' })
    await expect(transport.provision([{ name: 'x', partitions: 1, groups: [] }])).rejects.toMatchObject({
      kind: 'unavailable',
      retryable: true,
    })
    expect(transport.health().status).toBe('down')
  })

  it('is refused as retryable with a wrong password, which is not shown', async () => {
    const address = new URL(url)
    address.password = 'hunter2'
    const transport = attached({ url: address.href })
    const attempt = transport.provision([{ name: 'x', partitions: 1, groups: [] }])
    await expect(attempt).rejects.toMatchObject({ kind: 'refused', retryable: true })
    await expect(attempt).rejects.toThrow(/^((?!hunter2).)*Check the user and password, .*$/)
  })

  it('accepts a connect function, which gets the purpose of each connection', async () => {
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
