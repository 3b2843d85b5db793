/** Headers that Spring gives types, and headers that its functions hand on, on both brokers. */
import { type Binder, type Channel, createBinder, defineChannel, redrive, sink, TerminalError } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import type { Transport } from 'concordat/extension'
import { z } from 'zod'
import { kafkaOn } from '../support/kafka-driver.ts'
import { until } from '../support/until.ts'
import type { Kept } from './collect.ts'
import type { Report } from './report.ts'
import type { Spring } from './spring.ts'

export interface HeaderCases {
  readonly binder: Binder
  readonly isKafka: boolean
  readonly kept: ReadonlyMap<string, readonly Kept[]>
  readonly transport: () => Transport
  readonly refuse: (isRefused: boolean) => void
}

const any = { payload: z.unknown(), partitions: 1, key: () => 'question' } as const
const channels = (prefix: string, letter: string) => ({
  rich: defineChannel(`${prefix}.rich`, any),
  whole: defineChannel(`${prefix}.whole`, any),
  copied: defineChannel(`${prefix}.${letter}split`, any),
  clean: defineChannel(`${prefix}.${letter}splitclean`, any),
})
const ON_KAFKA = channels('i', 'k')
const ON_RABBIT = channels('ri', 'r')

export function headersOnKafka(url: string): Promise<HeaderCases> {
  return collect(true, ON_KAFKA, () => kafkaOn(url, { springHeaderTypes: true }))
}

export function headersOnRabbit(url: string): Promise<HeaderCases> {
  return collect(false, ON_RABBIT, () => rabbitTransport({ url, unroutable: 'accept' }))
}

/** Collects messages; those on `rich` are refused first. */
async function collect(isKafka: boolean, on: typeof ON_KAFKA, transport: () => Transport): Promise<HeaderCases> {
  const kept = new Map<string, Kept[]>()
  let isRefused = true
  const keep = (channel: Channel<unknown>) => {
    const list: Kept[] = []
    kept.set(channel.name, list)
    return sink(channel, { group: 'g' }, (payload, { id, source, key, headers }) => {
      list.push({ payload, id, source, key, headers })
      if (channel === on.rich && isRefused) throw new TerminalError('not yet')
    })
  }
  const bindings = [keep(on.rich), keep(on.copied), keep(on.clean)]
  const binder = createBinder({ service: 'headers', transport: transport(), bindings, sends: [on.whole] })
  await binder.start()
  await binder.ready()
  return { binder, isKafka, kept, transport, refuse: (is) => void (isRefused = is) }
}

const UUID = '00000000-0000-4000-8000-000000000001'
const TYPED = `uuid:uuid=${UUID},at:instant=2026-01-02T03:04:05Z,date:date=2026-01-02T03:04:05Z,neg:decimal=-1.50,sh:short=-7,list:list=-2.5`
/** The width of a number is lost on RabbitMQ. */
const NAMES = ['uuid', 'at', 'date', 'neg', 'list']

export async function typedHeaderCases(report: Report, spring: Spring, cases: HeaderCases): Promise<void> {
  const { isKafka, kept, binder, refuse, transport } = cases
  const broker = isKafka ? 'Kafka' : 'RabbitMQ'
  const { rich } = isKafka ? ON_KAFKA : ON_RABBIT
  const seen = () => kept.get(rich.name) ?? []
  spring.send(isKafka ? 'krichout' : 'rrichout', '-', TYPED, '{"n":1}')
  const time = Date.UTC(2026, 0, 2, 3, 4, 5)
  await report.check(
    `${broker}: typed headers of Spring: UUID, Instant and Date, a negative decimal, a short`,
    isKafka ? [UUID, '2026-01-02T03:04:05Z', time, '-1.50', -7] : [UUID, '2026-01-02T03:04:05Z', time, -1.5, -7],
    () => {
      const { uuid, at, date, neg, sh } = seen()[0]?.headers ?? {}
      return [uuid, at, isKafka ? Date.parse(String(date)) : date, neg, sh]
    },
    () => seen().length === 1,
  )
  const names = isKafka ? [...NAMES, 'sh'] : NAMES
  const gotBySpring = () => spring.got.filter((each) => each.function === (isKafka ? 'krich' : 'rrich'))
  await until('it is a dead letter', () => binder.binding(`${rich.name}.g`).status().deadLettered === 1)
  refuse(false)
  await redrive({ service: 'operator', transport: transport() }, rich, 'g', {})
  await report.check(
    `${broker}: after a dead letter and a redrive Spring gets the headers that it sent, with their classes`,
    true,
    () => {
      const [sent, again] = gotBySpring().map(({ headers }) => names.map((name) => headers[name]))
      return (sent !== undefined && JSON.stringify(sent) === JSON.stringify(again)) || [sent, again]
    },
    () => gotBySpring().length === 2,
  )
}

export async function handedOnCases(report: Report, { isKafka, kept, binder }: HeaderCases): Promise<void> {
  const broker = isKafka ? 'Kafka' : 'RabbitMQ'
  const { whole, copied, clean } = isKafka ? ON_KAFKA : ON_RABBIT
  const of = (channel: Channel<unknown>) => kept.get(channel.name) ?? []
  const { id } = await binder.send(whole, { n: 1 })
  const both = (channel: Channel<unknown>) => () => of(channel).length >= 2
  await report.check(
    `${broker}: a Spring function of lists that copies headers: two messages with the id and the key of the question`,
    [
      [1, 2],
      [id, id],
      ['question', 'question'],
    ],
    () => [partsOf(of(copied)), of(copied).map((each) => each.id), of(copied).map((each) => each.key)],
    both(copied),
  )
  await report.check(
    `${broker}: with the header-patterns of the page each has an id of its own, and the key`,
    [[1, 2], 2, false, ['question', 'question']],
    () => {
      const ids = of(clean).map((each) => `${each.source} ${each.id}`)
      const isCopied = of(clean).some((each) => each.id === id)
      return [partsOf(of(clean)), new Set(ids).size, isCopied, of(clean).map((each) => each.key)]
    },
    both(clean),
  )
}

const partsOf = (kept: readonly Kept[]): readonly unknown[] =>
  kept.map(({ headers }) => Number(headers['part'])).toSorted((a, b) => a - b)
