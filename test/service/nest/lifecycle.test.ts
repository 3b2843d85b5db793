// oxlint-disable no-restricted-imports -- Nest calls these hooks at a signal, which would end the tests
import 'reflect-metadata'
import { setImmediate } from 'node:timers/promises'
import { silentLogger } from 'concordat/core'
import { memoryTransport } from 'concordat/memory'
import { createService } from 'concordat/service'
import { expect, test } from 'vitest'
import { Lifecycle } from '../../../packages/nest/lifecycle.ts'
import { placed } from './shop.ts'

test.each([
  ['no warning where shutdown hooks are enabled right after the start', true],
  ['a warning that SIGTERM ends the process where they are not', false],
] as const)('a started application gives %s', async (_, enables) => {
  const warned: string[] = []
  const logger = { ...silentLogger, warn: (_fields: object, text?: string) => void warned.push(String(text)) }
  const service = createService({ name: 'told', transport: memoryTransport(), sends: [placed] })
  const lifecycle = new Lifecycle(service, { logger }, () => {})
  await lifecycle.onApplicationBootstrap()
  const hook = () => {}
  if (enables) process.on('SIGTERM', hook)
  await setImmediate()
  process.off('SIGTERM', hook)
  expect(warned).toEqual(enables ? [] : [expect.stringContaining('call app.enableShutdownHooks()')])
  await lifecycle.beforeApplicationShutdown()
})

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

test('an application that is terminated while it starts ends without an error', async () => {
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
