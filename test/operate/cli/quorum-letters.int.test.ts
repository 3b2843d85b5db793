/** Queues whose arguments only the service knows: its type, a limit. */
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { silentLogger } from 'concordat/core'
import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { uniqueName } from '../../outbox/support/messages.ts'
import { createDatabase } from '../../outbox/support/postgres.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { ranHere } from '../support/cli.ts'

async function setup(options: Partial<Parameters<typeof rabbitTransport>[0]>, retry: 'blocking' | 'delayed') {
  const database = await createDatabase()
  onTestFinished(() => database.drop())
  const url = serverUrl('rabbitmq') as string
  const name = uniqueName('quorum')
  const orders = defineChannel(name, { payload: z.string(), partitions: 2 })
  const handled: string[] = []
  const state = { broken: true }
  const stock = sink(orders, { group: 'stock', maxAttempts: 1, retry }, (order) => {
    if (state.broken) throw new Error('no stock')
    handled.push(order)
  })
  const transport = rabbitTransport({ url, ...options })
  const binder = createBinder({ service: 'shop', transport, bindings: [stock], logger: silentLogger })
  onTestFinished(() => binder.close())
  await binder.start()
  for (const order of ['a', 'b', 'c']) await binder.send(orders, order, { id: order })
  await until('they are dead letters', () => binder.binding(`${name}.stock`).status().deadLettered === 3)
  state.broken = false
  const cli = (...args: string[]) => ranHere([...args, '--postgres', database.url, '--rabbitmq', url], {})
  const migrate = ['migrate', 'apply', '--part', 'operator', '--reason', 'x', '--yes', '--postgres', database.url]
  expect((await ranHere(migrate, {})).code).toBe(0)
  const act = (...args: string[]) => cli('dlq', ...args, '--reason', 'x', '--yes')
  return { name, handled, cli, act }
}

describeWith(['postgres', 'rabbitmq'], 'npx concordat dlq', () => {
  test.for([
    ['quorum queues', { queueType: 'quorum' }],
    ['queues with a limit', { queueArguments: { 'x-max-length-bytes': 1e9, 'x-overflow': 'reject-publish' } }],
  ] as const)('lists, sends back and drops dead letters in %s', { timeout: 60_000 }, async ([, options]) => {
    const { name, handled, cli, act } = await setup(options, 'delayed')
    expect(await cli('dlq', 'list', name, 'stock')).toMatchObject({ code: 0, stdout: expect.stringMatching(/a[^]*b/) })
    expect(await act('drop', name, 'stock', '--id', 'a')).toMatchObject({ code: 0, stderr: '' })
    expect(await act('redrive', name, 'stock', '--id', 'b')).toMatchObject({ code: 0, stderr: '' })
    await until('the channel has it', () => handled.length === 1)
    expect(await act('redrive', name, 'stock', '--to', 'group')).toMatchObject({ code: 0, stderr: '' })
    await until('the group has it', () => handled.length === 2)
    expect(handled).toEqual(['b', 'c'])
  })
})
