/** The Spring Boot application of `java/App.java` as a child process: its configuration, what it got, what it is to send. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { until } from '../support/until.ts'
import type { Classes } from './classes.ts'

export interface Got {
  readonly function: string
  readonly payload: string
  /** As `Class=text`, by name. */
  readonly headers: Readonly<Record<string, string>>
}

export interface Spring {
  readonly got: readonly Got[]
  /** Headers as `name:type=value`, joined by commas; types are text, int and bool. */
  send(binding: string, key: string, headers: string, payload: string): void
  stop(): Promise<void>
}

const STREAM = '--spring.cloud.stream'

function configuration(kafka: string, rabbit: URL): readonly string[] {
  const binding = (name: string, binder: string, destination: string, group?: string): string[] => [
    `${STREAM}.bindings.${name}.binder=${binder}`,
    `${STREAM}.bindings.${name}.destination=${destination}`,
    ...(group === undefined ? [] : [`${STREAM}.bindings.${name}.group=${group}`]),
  ]
  const direct = (name: string, side: 'consumer' | 'producer', rule: string): string[] => [
    `${STREAM}.rabbit.bindings.${name}.${side}.exchange-type=direct`,
    `${STREAM}.rabbit.bindings.${name}.${side}.${rule}`,
  ]
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
    '--spring.cloud.function.definition=ksink;kletters;kfail;kcharge;rcharge;rchargetoo',
    `${STREAM}.output-bindings=kout;ktext;kevent`,
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
      ...direct(`${name}-in-0`, 'consumer', 'binding-routing-key=0'),
      ...binding(`${name}-out-0`, 'rabbit', 'ri.payments'),
      ...direct(`${name}-out-0`, 'producer', "routing-key-expression='0'"),
    ]),
  ]
}

export async function startSpring(classes: Classes, kafka: string, rabbit: string): Promise<Spring> {
  const memory = ['-Xmx384m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1']
  const path = `${classes.compiled}:${join(classes.jars, '*')}`
  const child = spawn(classes.java, [...memory, '-cp', path, 'interop.App', ...configuration(kafka, new URL(rabbit))])
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
    if (child.exitCode !== null) throw new Error(`Spring ended with ${child.exitCode}: ${said.slice(-1_000)}`)
    return /Started App/.test(said)
  }
  try {
    await until('Spring has started', hasStarted, 120_000)
  } catch (error) {
    child.kill('SIGKILL')
    throw new Error(`Spring has not started: ${said.slice(-4_000)}`, { cause: error })
  }
  return {
    got,
    send: (...parts) => void child.stdin.write(`${parts.join(' ')}\n`),
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
