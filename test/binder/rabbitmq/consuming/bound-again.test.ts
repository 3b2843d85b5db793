import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { silentLogger } from 'concordat/core'
import { expect, it, onTestFinished } from 'vitest'
import { drain, FakeClock } from '../../../support/locks/fake-clock.ts'
import { FakeBroker } from '../fake-broker.ts'
import { Recorder, subscribe } from '../kit.ts'

/** Creates a member of the group `g` of `orders`, with its logged errors. */
async function member(broker: FakeBroker, provision?: 'create' | 'none') {
  const clock = new FakeClock()
  const errors: unknown[][] = []
  const transport = rabbitTransport({ connect: broker.connect, provision })
  const logger = { ...silentLogger, error: (...line: unknown[]): void => void errors.push(line) }
  transport.attach({ service: 'tests', instance: 'tests-1', logger, clock })
  onTestFinished(() => transport.close())
  await subscribe(transport, 'orders', new Recorder(), { partitions: 2 })
  broker.declared.length = 0
  const pass = async (): Promise<void> => {
    await clock.advance(6_000)
    await drain()
  }
  return { pass, errors, transport }
}

it('a member that runs makes a deleted exchange again, binds its queues to it, and logs that as an error', async () => {
  const broker = new FakeBroker()
  const { pass, errors } = await member(broker)
  broker.exchanges.delete('orders')
  await pass()
  expect(broker.declared).toEqual(expect.arrayContaining(['exchange orders', 'bind orders:g:0', 'bind orders:g:1']))
  expect(errors).toEqual([[{ destination: 'orders', group: 'g' }, expect.stringContaining('was deleted')]])
})

it('a member that runs binds its queues to an exchange that another process has made again', async () => {
  const broker = new FakeBroker()
  const { pass, errors } = await member(broker)
  await pass()
  const binds = broker.declared.filter((each) => each.startsWith('bind') || each.startsWith('exchange'))
  expect(binds).toEqual(['bind orders:g:0', 'bind orders:g:1'])
  expect(errors).toEqual([])
})

it('a member without the permission to declare binds nothing', async () => {
  const broker = new FakeBroker()
  const { pass } = await member(broker, 'none')
  await pass()
  expect(broker.declared.filter((each) => each.startsWith('bind'))).toEqual([])
})
