import { createBinder, defineChannel, sink } from 'concordat/binder'
import kafkajs from 'kafkajs'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { TestPayload } from '../../conformance/transport-kit.ts'
import { kafkaOn } from '../../support/kafka-driver.ts'
import { describeWith, type PrivateServer, startServer } from '../../support/servers/index.ts'
import { AUTHORIZED } from '../../support/servers/kafka.ts'
import { until } from '../../support/until.ts'

const { AclOperationTypes, AclPermissionTypes, AclResourceTypes, ResourcePatternTypes } = kafkajs
/** Once there is a rule for a resource, what no rule allows is denied. */
const LOOK = {
  resourceName: '*',
  resourcePatternType: ResourcePatternTypes.LITERAL,
  principal: 'User:ANONYMOUS',
  host: '*',
  operation: AclOperationTypes.DESCRIBE,
  permissionType: AclPermissionTypes.ALLOW,
}
const TAKEN = [
  { what: 'its topics', resourceType: AclResourceTypes.TOPIC },
  { what: 'its groups', resourceType: AclResourceTypes.GROUP },
] as const

describeWith(['kafka'], 'a user of Kafka that loses its permissions', { private: true }, () => {
  let server: PrivateServer
  beforeAll(async () => {
    server = await startServer('kafka', { settings: AUTHORIZED })
  }, 240_000)
  afterAll(() => server?.stop())

  async function asked(work: (admin: kafkajs.Admin) => Promise<unknown>): Promise<void> {
    const kafka = new kafkajs.Kafka({ brokers: [server.url], logLevel: kafkajs.logLevel.NOTHING })
    const admin = kafka.admin()
    await admin.connect()
    try {
      await work(admin)
    } finally {
      await admin.disconnect()
    }
  }

  it.for(TAKEN)(
    '$what: reports why, and continues by itself when the permission is back',
    async ({ what, resourceType }) => {
      const channel = defineChannel(`rights-${what.replaceAll(' ', '-')}`, {
        payload: TestPayload,
        partitions: 2,
        groups: ['g'],
      })
      const transport = kafkaOn(
        server.url,
        { sessionTimeoutMs: 5_000, heartbeatIntervalMs: 500, replicationFactor: 1 },
        { clientId: 'rights' },
      )
      const got: number[] = []
      const work = sink(channel, { group: 'g' }, ({ n }) => void got.push(n))
      const binder = createBinder({ service: 'rights', transport, bindings: [work], sendTimeoutMs: 5_000 })
      onTestFinished(() => binder.close())
      await binder.start()
      await binder.ready({ timeoutMs: 60_000 })
      await binder.send(channel, { key: 'k', n: 1 })
      await until('it came', () => got.includes(1))

      await asked((admin) => admin.createAcls({ acl: [{ ...LOOK, resourceType }] }))
      await until('the binding says why', () => /Give the user the rights/.test(binder.bindings()[0]?.error ?? ''))
      expect(binder.bindings()[0]?.state).toBe('connecting')
      if (resourceType === AclResourceTypes.TOPIC) {
        const failed = await binder.send(channel, { key: 'k', n: 2 }).catch((error: unknown) => error)
        expect(failed).toMatchObject({ code: 'binder.send', retryable: true, cause: { kind: 'refused' } })
        expect(String(failed)).toMatch(/Give the user the rights/)
      }

      await asked((admin) => admin.deleteAcls({ filters: [{ ...LOOK, resourceType }] }))
      await binder.ready({ timeoutMs: 60_000 })
      await binder.send(channel, { key: 'k', n: 3 })
      await until('it came', () => got.includes(3))
      expect(binder.bindings()[0]).toMatchObject({ state: 'running', deadLettered: 0 })
    },
  )

  it('the group that forwards its delayed messages: reports why, and delivers them when the permission is back', async () => {
    const channel = defineChannel('rights-delayed', { payload: TestPayload, partitions: 1, groups: ['g'] })
    const resource = { resourceType: AclResourceTypes.GROUP, resourceName: 'concordat.rights-delayed.delay' }
    await asked((admin) => admin.createAcls({ acl: [{ ...LOOK, ...resource }] }))
    const got: number[] = []
    const transport = kafkaOn(server.url, { replicationFactor: 1 }, { clientId: 'rights-delayed' })
    const work = sink(channel, { group: 'g' }, ({ n }) => void got.push(n))
    const binder = createBinder({ service: 'rights', transport, bindings: [work] })
    onTestFinished(() => binder.close())
    await binder.start()
    await binder.ready({ timeoutMs: 60_000 })
    await binder.send(channel, { key: 'k', n: 1 }, { delayMs: 100 })
    await until('the binding says why', () => {
      return /"concordat\.rights-delayed\.delay".*Give the user the rights/.test(binder.bindings()[0]?.error ?? '')
    })
    // Until this process delays a message itself, another one may forward them.
    await until('the binder is down', () => binder.health().status === 'down')
    await asked((admin) => admin.deleteAcls({ filters: [{ ...LOOK, ...resource }] }))
    await until('it came', () => got.includes(1))
    await binder.ready({ timeoutMs: 60_000 })
  })
})
