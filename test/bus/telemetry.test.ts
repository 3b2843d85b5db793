import { createBinder } from 'concordat/binder'
import { createBus, defineEvent, onEvent } from 'concordat/bus'
import { memoryTransport } from 'concordat/memory'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { record } from '../support/tracing.ts'

it('a bus counts handled, dropped and published events, and known members', async () => {
  const recording = record()
  const { telemetry } = recording
  const Ping = defineEvent('ping', { payload: z.object({}) })
  const Other = defineEvent('other', { payload: z.object({}) })
  const bus = createBus({ service: 's', telemetry, on: [onEvent(Ping, () => {})] })
  const binder = createBinder({
    service: 's',
    transport: memoryTransport(),
    bindings: bus.bindings,
    sends: bus.channels,
  })
  onTestFinished(async () => {
    await bus.close()
    await binder.close()
  })
  await binder.start()
  await bus.start(binder)
  await bus.publish(Ping, {}, { to: '**', ack: true })
  await bus.publish(Other, {}, { to: 'nobody:*:*' })
  await bus.publish(Other, {}, { to: 's:*:*', ack: true })
  expect(await recording.metric('concordat.bus.handled')).toEqual([
    { value: 1, attributes: { 'concordat.bus.event': 'ping', 'concordat.outcome': 'acked' } },
    { value: 1, attributes: { 'concordat.bus.event': '(ignored)', 'concordat.outcome': 'ignored' } },
  ])
  expect(
    (await recording.metric('concordat.bus.publish.duration')).map(({ attributes }) => attributes['concordat.outcome']),
  ).toEqual(['answered', 'sent', 'answered'])
  expect(await recording.metric('concordat.bus.members')).toEqual([{ value: 1, attributes: {} }])
  expect(await recording.metric('concordat.bus.dropped')).toEqual([])
})
