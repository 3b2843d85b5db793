/** Spring Cloud Stream on Kafka, both ways. */
import { createBinder, sink } from 'concordat/binder'
import { kafkaOn } from '../support/kafka-driver.ts'
import { until } from '../support/until.ts'
import { broken, type Collector, fails, orders, toSpring } from './collect.ts'
import type { Report } from './report.ts'
import type { Got, Spring } from './spring.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'

export async function kafkaSpringCases(report: Report, spring: Spring, { binder, kept }: Collector): Promise<void> {
  const of = (channel: string) => kept.get(channel) ?? []
  const gotBy = (name: string): readonly Got[] => spring.got.filter((each) => each.function === name)

  spring.send('kout', 'k-1', 'retries:int=7,vip:bool=true', '{"n":"ü"}')
  await report.check(
    'Spring to concordat: payload, key, typed headers',
    [{ n: 'ü' }, 'k-1', 7, true],
    () => of('i.from-spring').flatMap((each) => [each.payload, each.key, each.headers['retries'], each.headers['vip']]),
    () => of('i.from-spring').length === 1,
  )
  spring.send('ktext', '-', '-', 'plain')
  await report.check(
    "Spring's contentType chooses the codec",
    'plain',
    () => of('i.from-spring')[1]?.payload,
    () => of('i.from-spring').length === 2,
  )
  const event = { specversion: '1.0', id: 'e-1', source: '/spring', type: 'placed', data: { n: 2 } }
  spring.send('kevent', '-', '-', JSON.stringify(event))
  await report.check(
    'a structured CloudEvent of Spring is unfolded',
    [{ n: 2 }, 'e-1', '/spring'],
    () =>
      of('i.from-spring')
        .slice(2)
        .flatMap((each) => [each.payload, each.id, each.source]),
    () => of('i.from-spring').length === 3,
  )

  await binder.send(toSpring, { n: 3 }, { headers: { tenant: 'acme', n: 7, vip: true } })
  await report.check(
    'concordat to Spring: payload, key, header types with springHeaderTypes',
    ['{"n":3}', 'byte[]=k', 'String=acme', 'Integer=7', 'Boolean=true'],
    () => {
      const [got] = gotBy('ksink')
      const { headers = {} } = got ?? {}
      return [got?.payload, headers['kafka_receivedMessageKey'], headers['tenant'], headers['n'], headers['vip']]
    },
    () => gotBy('ksink').length === 1,
  )

  const traceparent = `00-${TRACE}-b7ad6b7169203331-01`
  const { id } = await binder.send(orders, { n: 4 }, { headers: { traceparent } })
  const answer = () => of('i.payments')[0]
  await report.check(
    "a Spring function's answer: payload, an id and a source of its own",
    [{ paid: { n: 4 } }, true, true],
    () => [answer()?.payload, answer()?.id !== id, answer()?.source !== 'interop'],
    () => answer() !== undefined,
  )
  await report.check(
    'one trace goes through Spring',
    TRACE,
    () => String(answer()?.headers['traceparent']).split('-')[1],
  )

  await binder.send(fails, { n: 5 }, { headers: { mine: 'm' } })
  await report.check(
    "Spring's dead letter is readable",
    [{ n: 5 }, 'm', true],
    () => {
      const [letter] = of('error.i.fails.boom')
      return [
        letter?.payload,
        letter?.headers['mine'],
        /no stock/.test(String(letter?.headers['x-exception-stacktrace'])),
      ]
    },
    () => of('error.i.fails.boom').length === 1,
  )
  await binder.send(broken, { n: 6 })
  await report.check(
    'our dead letter is readable by Spring',
    ['{"n":6}', 'String=not here'],
    () => gotBy('kletters').flatMap((got) => [got.payload, got.headers['dead-letter-error-message']]),
    () => gotBy('kletters').length === 1,
  )
}

/** Takes over the Kafka group of the Spring application: refused while that lives, then from where it stood. */
export async function takeOverCases(report: Report, spring: Spring, url: string, { binder }: Collector): Promise<void> {
  const handled: unknown[] = []
  const join = () =>
    createBinder({
      service: 'successor',
      transport: kafkaOn(url, { groupIds: { 'i.to-spring': { sink: 'sink' } } }),
      bindings: [sink(toSpring, { group: 'sink' }, (payload) => void handled.push(payload))],
    })
  await report.check(
    'the group of a live Spring application is refused, and says when to start again',
    true,
    async () => {
      const early = join()
      const refusal = await early.start().then(() => 'started', String)
      await early.close()
      return refusal.includes('start again when the last such member has left')
    },
  )
  await spring.stop()
  await binder.send(toSpring, { n: 'new' })
  const successor = join()
  await until('the group is free', () => successor.start().then(() => true))
  await report.check(
    "Spring's group goes on where it stood",
    [{ n: 'new' }],
    () => handled,
    () => handled.length > 0,
  )
  await successor.close()
}
