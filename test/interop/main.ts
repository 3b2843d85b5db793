/**
 * `npm run interop [-- java | spring | debezium]` (`--help` tells more): this package beside software that is not ours. Prints one line per case, with what was
 * expected and what was seen; the exit code is 1 when any differs, 2 after a mistake in the command line. It needs a JDK, Maven (once) and what the servers of the tests need.
 */
import { rm } from 'node:fs/promises'
import { KAFKA_DRIVER, KAFKA_DRIVERS } from '../support/kafka-driver-name.ts'
import { obtainServer } from '../support/servers/obtain.ts'
import { type Classes, prepareClasses } from './classes.ts'
import { collectOnKafka, collectOnRabbit } from './collect.ts'
import { debeziumCases } from './debezium/cases.ts'
import { cloudEventCases, compressionCases, consoleCases, partitionCases, transactionCases } from './java-clients.ts'
import { kafkaSpringCases, takeOverCases } from './kafka-spring.ts'
import { rabbitSpringCases } from './rabbit-spring.ts'
import { Report } from './report.ts'
import { startSpring } from './spring.ts'

const closers: Array<() => Promise<unknown>> = []

const PARTS = ['java', 'spring', 'debezium'] as const
type Part = (typeof PARTS)[number]

const USAGE = [
  `Usage: npm run interop [-- ${PARTS.join(' | ')}]`,
  '',
  "  java      Kafka's Java client and tools, and the CloudEvents SDKs",
  '  spring    Spring Cloud Stream on Kafka and RabbitMQ',
  "  debezium  its outbox event router in Kafka Connect, in the relay's place",
  '',
  `  KAFKA_DRIVER=NAME in the environment: our client library on Kafka, ${KAFKA_DRIVERS.join(', ')} (${KAFKA_DRIVERS[0]})`,
].join('\n')

async function main(): Promise<number> {
  const [only] = process.argv.slice(2)
  if (only === '--help') {
    console.log(USAGE)
    return 0
  }
  const part = PARTS.find((name) => name === only)
  if (only !== undefined && part === undefined) {
    console.error(`interop: there is no "${only}"\n${USAGE}`)
    return 2
  }
  return play((name) => part === undefined || part === name)
}

async function play(isAsked: (part: Part) => boolean): Promise<number> {
  console.log(`on Kafka with ${KAFKA_DRIVER}`)
  const report = new Report()
  const kafka = await obtainServer('kafka')
  closers.push(() => kafka.stop())
  if (isAsked('debezium')) await debeziumCases(report, kafka.url)
  if (isAsked('java') || isAsked('spring')) await javaAndSpring(report, kafka.url, isAsked)
  return report.end()
}

async function javaAndSpring(report: Report, kafka: string, isAsked: (part: Part) => boolean): Promise<void> {
  const classes = await prepareClasses()
  closers.push(() => rm(classes.compiled, { recursive: true, force: true }))
  if (isAsked('java')) {
    await partitionCases(report, classes)
    await consoleCases(report, classes, kafka)
    await cloudEventCases(report, classes, kafka)
    await compressionCases(report, kafka)
    await transactionCases(report, kafka)
  }
  if (!isAsked('spring')) return
  const rabbit = await obtainServer('rabbitmq')
  closers.push(() => rabbit.stop())
  await springCases(report, classes, kafka, rabbit.url)
}

async function springCases(report: Report, classes: Classes, kafka: string, rabbit: string): Promise<void> {
  const onKafka = await collectOnKafka(kafka)
  const onRabbit = await collectOnRabbit(rabbit)
  closers.push(
    () => onKafka.binder.close(),
    () => onRabbit.binder.close(),
  )
  const spring = await startSpring(classes, kafka, rabbit)
  closers.push(() => spring.stop())
  await kafkaSpringCases(report, spring, onKafka)
  await rabbitSpringCases(report, onRabbit)
  await takeOverCases(report, spring, kafka, onKafka)
}

try {
  process.exitCode = await main()
} finally {
  for (const close of closers.reverse()) await close()
}
