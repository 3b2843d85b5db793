/** Spring Cloud Bus on Kafka and a channel `springCloudBus` of ours, as docs/coordination/bus.md says. */
import { randomUUID } from 'node:crypto'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { z } from 'zod'
import { kafkaOn } from '../support/kafka-driver.ts'
import { until } from '../support/until.ts'
import type { Classes } from './classes.ts'
import type { Report } from './report.ts'
import { startApp } from './spring.ts'

const SpringEvent = z.looseObject({ type: z.string(), originService: z.string() })

export async function springBusCases(report: Report, classes: Classes, url: string): Promise<void> {
  const springCloudBus = defineChannel('springCloudBus', { payload: SpringEvent, partitions: 1 })
  const heard: Array<z.infer<typeof SpringEvent>> = []
  const binder = createBinder({
    service: 'console',
    transport: kafkaOn(url),
    bindings: [sink(springCloudBus, {}, (event) => void heard.push(event))],
    sends: [springCloudBus],
  })
  await binder.start()
  await binder.ready()
  const bus = await startApp(classes, 'interopbus.Bus', [
    '--spring.application.name=orders',
    '--spring.main.web-application-type=none',
    '--spring.main.banner-mode=off',
    '--logging.level.root=warn',
    '--logging.level.interopbus=info',
    '--spring.cloud.bus.enabled=true',
    '--spring.cloud.bus.ack.enabled=true',
    '--spring.cloud.stream.default-binder=kafka',
    `--spring.cloud.stream.kafka.binder.brokers=${url}`,
  ])
  const refresh = () =>
    binder.send(springCloudBus, {
      type: 'RefreshRemoteApplicationEvent',
      id: randomUUID(),
      timestamp: Date.now(),
      originService: 'console:1',
      destinationService: 'orders:**',
    })
  try {
    bus.say('1.09')
    const changes = () => heard.filter(({ type }) => type === 'EnvironmentChangeRemoteApplicationEvent')
    await report.check(
      'Spring Cloud Bus to a channel of ours: the event, its values and where it is from',
      [{ value: '1.09' }, true],
      () => [changes()[0]?.['values'], changes()[0]?.originService.startsWith('orders')],
      () => changes().length > 0,
    )
    const got = () => bus.got.filter(({ payload, function: name }) => `${name} ${payload}`.includes('Refresh'))
    // Spring's consumer may join later than Spring reports its start.
    await until('Spring hears us', async () => {
      await refresh()
      return got().length > 0
    }).catch(() => {})
    await report.check('and back: Spring handles our event', true, () => got().length > 0)
    await report.check(
      'its ack comes back to us',
      true,
      () => heard.some(({ type }) => type === 'AckRemoteApplicationEvent'),
      () => heard.some(({ type }) => type === 'AckRemoteApplicationEvent'),
    )
  } finally {
    await bus.stop()
    await binder.close()
  }
}
