/**
 * The Spring Boot application of `java/App.java` as a child process: its configuration, its messages, and those that it
 * sends.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { until } from '../support/until.ts'
import type { Classes } from './classes.ts'

export interface Got {
  readonly function: string
  readonly payload: string
  /** Headers by name, as `Class=text`. */
  readonly headers: Readonly<Record<string, string>>
}

export interface Spring {
  readonly got: readonly Got[]
  /** Headers as `name:type=value`, joined by commas; types are text, int and bool. */
  send(binding: string, key: string, headers: string, payload: string): void
  /** Writes a line to its input. */
  say(line: string): void
  stop(): Promise<void>
}

const STREAM = '--spring.cloud.stream'

const FUNCTIONS =
  'ksink;kletters;kfail;kcharge;krich;ksplit;ksplitclean;rcharge;rchargetoo;rrich;rsplit;rsplitclean;rtaken'
/** Format of docs/reference/wire-format.md. */
const PATTERNS = {
  kafka: '!ce_id,!ce_source,!ce_type,!ce_time,!payload-version,*',
  rabbit: '!cloudEvents*,!ce-id,!ce-source,!ce-type,!ce-time,!amqp_messageId,!amqp_appId,!payload-version,*',
}
const FROM_0 = 'binding-routing-key=0'
const TO_0 = "routing-key-expression='0'"

function binding(name: string, binder: string, destination: string, group?: string): string[] {
  return [
    `${STREAM}.bindings.${name}.binder=${binder}`,
    `${STREAM}.bindings.${name}.destination=${destination}`,
    ...(group === undefined ? [] : [`${STREAM}.bindings.${name}.group=${group}`]),
  ]
}

/** Spring options for our exchanges, which are direct ones. */
function direct(name: string, side: 'consumer' | 'producer', rule: string): string[] {
  return [
    `${STREAM}.rabbit.bindings.${name}.${side}.exchange-type=direct`,
    `${STREAM}.rabbit.bindings.${name}.${side}.${rule}`,
  ]
}

/** Typed headers, functions of lists that hand headers on, batches and compressed bodies. */
function headerBindings(): readonly string[] {
  const producer = `${STREAM}.rabbit.bindings`
  return [
    ...binding('krichout', 'kafka', 'i.rich'),
    ...binding('krich-in-0', 'kafka', 'i.rich', 'rich'),
    ...['ksplit', 'ksplitclean'].flatMap((name) => [
      ...binding(`${name}-in-0`, 'kafka', 'i.whole', name),
      ...binding(`${name}-out-0`, 'kafka', `i.${name}`),
    ]),
    `${STREAM}.kafka.bindings.ksplitclean-out-0.producer.header-patterns=${PATTERNS.kafka}`,
    `${STREAM}.kafka.bindings.ksplitclean-out-0.producer.message-key-expression=headers['kafka_receivedMessageKey']`,
    ...['rrichout', 'rbatched', 'rgzip'].flatMap((name) => [
      ...binding(name, 'rabbit', name === 'rrichout' ? 'ri.rich' : `ri.${name}`),
      ...direct(name, 'producer', TO_0),
    ]),
    ...binding('rtaken-in-0', 'rabbit', 'ri.taken', 'billing'),
    ...binding('rrich-in-0', 'rabbit', 'ri.rich', 'rich'),
    ...direct('rrich-in-0', 'consumer', FROM_0),
    ...['rsplit', 'rsplitclean'].flatMap((name) => [
      ...binding(`${name}-in-0`, 'rabbit', 'ri.whole', name),
      ...direct(`${name}-in-0`, 'consumer', FROM_0),
      ...binding(`${name}-out-0`, 'rabbit', `ri.${name}`),
      ...direct(`${name}-out-0`, 'producer', TO_0),
    ]),
    `${producer}.rsplitclean-out-0.producer.header-patterns=${PATTERNS.rabbit}`,
    `${producer}.rbatched.producer.batching-enabled=true`,
    `${producer}.rbatched.producer.batch-size=3`,
    `${producer}.rbatched.producer.batch-timeout=2000`,
    `${producer}.rgzip.producer.compress=true`,
  ]
}

function configuration(kafka: string, rabbit: URL): readonly string[] {
  return [
    '--spring.application.name=interop-shop',
    '--spring.main.banner-mode=off',
    '--spring.main.web-application-type=none',
    '--logging.level.root=warn',
    '--logging.level.interop=info',
    '--management.tracing.sampling.probability=1',
    `--spring.rabbitmq.addresses=${rabbit.href}`,
    `${STREAM}.kafka.binder.brokers=${kafka}`,
    `${STREAM}.kafka.binder.enable-observation=true`,
    '--spring.cloud.bus.enabled=false',
    `--spring.cloud.function.definition=${FUNCTIONS}`,
    `${STREAM}.output-bindings=kout;ktext;kevent;krichout;rrichout;rbatched;rgzip`,
    ...headerBindings(),
    ...binding('kout', 'kafka', 'i.from-spring'),
    ...binding('ktext', 'kafka', 'i.from-spring'),
    `${STREAM}.bindings.ktext.content-type=text/plain`,
    ...binding('kevent', 'kafka', 'i.from-spring'),
    `${STREAM}.bindings.kevent.content-type=application/cloudevents+json`,
    ...binding('ksink-in-0', 'kafka', 'i.to-spring', 'sink'),
    ...binding('kletters-in-0', 'kafka', 'i.broken.g.dlq', 'letters'),
    ...binding('kfail-in-0', 'kafka', 'i.fails', 'boom'),
    `${STREAM}.bindings.kfail-in-0.consumer.max-attempts=1`,
    `${STREAM}.kafka.bindings.kfail-in-0.consumer.enable-dlq=true`,
    ...binding('kcharge-in-0', 'kafka', 'i.orders', 'charge'),
    ...binding('kcharge-out-0', 'kafka', 'i.payments'),
    ...['rcharge', 'rchargetoo'].flatMap((name) => [
      ...binding(`${name}-in-0`, 'rabbit', 'ri.orders', name),
      ...direct(`${name}-in-0`, 'consumer', FROM_0),
      ...binding(`${name}-out-0`, 'rabbit', 'ri.payments'),
      ...direct(`${name}-out-0`, 'producer', TO_0),
    ]),
  ]
}

export function startSpring(classes: Classes, kafka: string, rabbit: string): Promise<Spring> {
  return startApp(classes, 'interop.App', configuration(kafka, new URL(rabbit)))
}

/**
 * A Java program that prints `Started App` (Spring prints it for its main class) and a line `GOT ...` for each received
 * message.
 */
export async function startApp(classes: Classes, main: string, args: readonly string[]): Promise<Spring> {
  const memory = ['-Xmx384m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1']
  const path = `${classes.compiled}:${join(classes.jars, '*')}`
  const child = spawn(classes.java, [...memory, '-cp', path, main, ...args])
  const got: Got[] = []
  let said = ''
  child.stderr.on('data', (bytes: Buffer) => {
    said += bytes.toString()
  })
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line.startsWith('GOT ')) got.push(parse(line))
    else said += `${line}\n`
  })
  const hasStarted = (): boolean => {
    if (child.exitCode !== null) throw new Error(`${main} ended with ${child.exitCode}: ${said.slice(-1_000)}`)
    return /Started (App|Bus)/.test(said)
  }
  try {
    await until(`${main} has started`, hasStarted, 120_000)
  } catch (error) {
    child.kill('SIGKILL')
    throw new Error(`${main} has not started: ${said.slice(-4_000)}`, { cause: error })
  }
  return {
    got,
    send: (...parts) => void child.stdin.write(`${parts.join(' ')}\n`),
    say: (line) => void child.stdin.write(`${line}\n`),
    stop: () => stop(child),
  }
}

async function stop(child: ChildProcessWithoutNullStreams): Promise<void> {
  if (child.exitCode !== null) return
  const ended = once(child, 'close')
  child.kill('SIGTERM')
  await ended
}

function parse(line: string): Got {
  const [, name = '', payload = '', ...headers] = line.split(' ')
  const plain = (text: string): string => Buffer.from(text, 'base64').toString()
  return {
    function: name,
    payload: plain(payload),
    headers: Object.fromEntries(
      headers.map((header) => {
        const at = header.indexOf('=')
        return [header.slice(0, at), plain(header.slice(at + 1))]
      }),
    ),
  }
}
