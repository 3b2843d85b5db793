import { createBinder, defineChannel, sink } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { it, onTestFinished } from 'vitest'
import { TestPayload } from '../../conformance/transport-kit.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { witness } from '../../support/witness.ts'

const WRONG = 'S3CR3T-hunter2'

describeWith(['rabbitmq'], 'RabbitMQ that refuses a password', () => {
  it('shows no part of it: log lines, health, states, errors with their causes', async ({ expect }) => {
    const { logger, keep, shown } = witness()
    const url = new URL(serverUrl('rabbitmq') ?? '')
    Object.assign(url, { password: WRONG })
    const channel = defineChannel('secret', { payload: TestPayload, partitions: 1, groups: ['g'] })
    const work = sink(channel, { group: 'g' }, () => {})
    const transport = rabbitTransport({ url: url.href })
    const binder = createBinder({ service: 's', transport, bindings: [work], logger, sendTimeoutMs: 2_000 })
    onTestFinished(() => binder.close())
    await binder.start()
    await until('the state says why', () => binder.bindings()[0]?.error?.includes('password') === true)
    for (const value of [binder.health(), binder.bindings(), binder.describe(), transport, binder]) keep(value)
    keep(await binder.ready({ timeoutMs: 1 }).catch((error: unknown) => error))
    keep(await binder.send(channel, { key: 'k', n: 1 }).catch((error: unknown) => error))
    expect(shown()).toContain('Check the user and password')
    expect(shown()).not.toContain(WRONG)
  })
})
