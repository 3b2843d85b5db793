/**
 * `npm run interop [-- java | streams | spring | bus | clients | debezium]` (`--help` has the details): this package
 * beside other software. Prints a line per case with the expected and the actual result; the exit code is 1 when any
 * differs, 2 after a mistake in the command line. It needs a JDK, Maven (once) and the servers of the tests.
 */
import { rm } from 'node:fs/promises'
import { KAFKA_DRIVER, KAFKA_DRIVERS } from '../support/kafka-driver-name.ts'
import { obtainServer } from '../support/servers/obtain.ts'
import { type Classes, prepareClasses } from './classes.ts'
import { kcatCases, kombuCases, pikaCases, pythonKafkaCases } from './clients.ts'
import { collectOnKafka, collectOnRabbit } from './collect.ts'
import { debeziumCases } from './debezium/cases.ts'
import { cloudEventCases, compressionCases, consoleCases, partitionCases, transactionCases } from './java-clients.ts'
import { kafkaSpringCases, takeOverCases } from './kafka-spring.ts'
import { collectForms, formCases, rabbitSpringCases, takeOverQueue } from './rabbit-spring.ts'
import { Report } from './report.ts'
import { startSpring } from './spring.ts'
import { springBusCases } from './spring-bus.ts'
import { handedOnCases, headersOnKafka, headersOnRabbit, typedHeaderCases } from './spring-headers.ts'
import { streamsCases } from './streams.ts'

const closers: Array<() => Promise<unknown>> = []

const PARTS = ['java', 'streams', 'spring', 'bus', 'clients', 'debezium'] as const
type Part = (typeof PARTS)[number]

const USAGE = [
  `Usage: npm run interop [-- ${PARTS.join(' | ')}]`,
  '',
  "  java      Kafka's Java client and tools, and the CloudEvents SDKs",
  '  streams   Kafka Streams between two of our services',
  '  spring    Spring Cloud Stream on Kafka and RabbitMQ',
  '  bus       Spring Cloud Bus on Kafka',
  "  clients   kcat, python3-kafka, pika and kombu: those of Debian's packages that are installed",
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
  const rabbit = isAsked('spring') || isAsked('clients') ? await obtainServer('rabbitmq') : undefined
  if (rabbit !== undefined) closers.push(() => rabbit.stop())
  if (isAsked('clients') && rabbit !== undefined) {
    await kcatCases(report, kafka.url)
    await pythonKafkaCases(report, kafka.url)
    await pikaCases(report, rabbit.url)
    await kombuCases(report, rabbit.url)
  }
  const onJava = PARTS.filter((each) => each !== 'clients' && each !== 'debezium' && isAsked(each))
  if (onJava.length > 0) await javaCases(report, { kafka: kafka.url, rabbit: rabbit?.url }, onJava)
  return report.end()
}

interface Urls {
  readonly kafka: string
  readonly rabbit: string | undefined
}

async function javaCases(report: Report, { kafka, rabbit }: Urls, parts: readonly Part[]): Promise<void> {
  const classes = await prepareClasses()
  closers.push(() => rm(classes.compiled, { recursive: true, force: true }))
  if (parts.includes('java')) {
    await partitionCases(report, classes)
    await consoleCases(report, classes, kafka)
    await cloudEventCases(report, classes, kafka)
    await compressionCases(report, kafka)
    await transactionCases(report, kafka)
  }
  if (parts.includes('streams')) await streamsCases(report, classes, kafka)
  if (parts.includes('bus')) await springBusCases(report, classes, kafka)
  if (parts.includes('spring') && rabbit !== undefined) await springCases(report, classes, kafka, rabbit)
}

async function springCases(report: Report, classes: Classes, kafka: string, rabbit: string): Promise<void> {
  const onKafka = await collectOnKafka(kafka)
  const onRabbit = await collectOnRabbit(rabbit)
  const headers = [await headersOnKafka(kafka), await headersOnRabbit(rabbit)]
  const forms = await collectForms(rabbit)
  for (const { binder } of [onKafka, onRabbit, ...headers, forms]) closers.push(() => binder.close())
  const spring = await startSpring(classes, kafka, rabbit)
  closers.push(() => spring.stop())
  await kafkaSpringCases(report, spring, onKafka)
  await rabbitSpringCases(report, onRabbit)
  await formCases(report, spring, forms)
  for (const each of headers) {
    await typedHeaderCases(report, spring, each)
    await handedOnCases(report, each)
  }
  await takeOverCases(report, spring, kafka, onKafka)
  await takeOverQueue(report, spring, rabbit)
}

try {
  process.exitCode = await main()
} finally {
  for (const close of closers.reverse()) await close()
}
