// oxlint-disable no-restricted-imports -- Nest calls these hooks at a signal, which would end the tests
import 'reflect-metadata'
import { memoryTransport } from 'concordat/binder/memory'
import { createService } from 'concordat/service'
import { expect, test } from 'vitest'
import { Lifecycle } from '../../../service/nest/lifecycle.ts'
import { placed } from './shop.ts'

function starting() {
  const transport = memoryTransport()
  const [asked, answer] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const provision = transport.provision.bind(transport)
  transport.provision = async (destinations) => {
    asked.resolve()
    await answer.promise
    await provision(destinations)
  }
  const service = createService({ name: 'told', transport, sends: [placed] })
  return { service, lifecycle: new Lifecycle(service, {}, () => {}), asked: asked.promise, answer: answer.resolve }
}

test('an application that is told to end while it starts ends without an error', async () => {
  const { lifecycle, asked, answer } = starting()
  const started = lifecycle.onApplicationBootstrap()
  await asked
  const ended = lifecycle.beforeApplicationShutdown()
  answer()
  await Promise.all([started, ended])
})

test('a start of a service that the program closed itself fails', async () => {
  const { service, lifecycle, asked, answer } = starting()
  const started = lifecycle.onApplicationBootstrap()
  await asked
  const closed = service.close()
  answer()
  await expect(started).rejects.toMatchObject({ code: 'service.closed' })
  await closed
})
