/** A running system whose problems are planted, looked for with the command line alone, and put right. */
import { type Binding, type Channel, createBinder, defineChannel, sink } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { createBus } from 'concordat/bus'
import { pgClient } from 'concordat/core/pg'
import type { Transport } from 'concordat/extension'
import { defineSaga } from 'concordat/saga'
import { createService, type Service } from 'concordat/service'
import pg from 'pg'
import { z } from 'zod'
import { uniqueName } from '../../outbox/support/messages.ts'
import { kafkajsOn } from '../../support/kafka-driver.ts'
import { serverClock, serverDisk, serverUrl, startServer } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { ranHere } from './cli.ts'

export type Broker = 'rabbitmq' | 'kafka'

export const MINUTE = 60_000

/** The actions that a person at night needed. */
export interface Solved {
  readonly problem: string
  /** The line of `doctor`. */
  readonly found: string
  readonly seconds: number
  /** The commands that put it right. */
  by: string
}

/** Outside systems that break and are repaired: a bank, a warehouse, a server that never answers. */
export interface Faults {
  bank: boolean
  stock: boolean
  hang: PromiseWithResolvers<void> | undefined
  /** How many prices were handled. */
  prices: number
}

type AtEnd = (work: () => Promise<void>) => void

const openers: Readonly<Record<Broker, (address: string) => Transport>> = {
  rabbitmq: (url) => rabbitTransport({ url }),
  kafka: (brokers) => kafkajsOn(brokers),
}

/** PostgreSQL of its own: its clock and its disk are among the problems. */
async function database(atEnd: AtEnd) {
  const [clock, disk] = await Promise.all([serverClock(), serverDisk()])
  const LD_PRELOAD = [clock, disk].map(({ env }) => env['LD_PRELOAD']).join(' ')
  // Without fsync, as tests have it otherwise, `doctor` would warn to the end.
  const server = await startServer('postgres', {
    env: { ...clock.env, ...disk.env, LD_PRELOAD },
    settings: { fsync: 'on' },
  })
  const pool = new pg.Pool({ connectionString: server.url, max: 20 })
  pool.on('error', () => {})
  atEnd(async () => {
    await pool.end()
    await server.stop()
    clock.dispose()
    disk.dispose()
  })
  return { url: server.url, sql: pgClient(pool), clock, disk }
}

/** @param atEnd `onTestFinished` of the test: two drills may run at once */
export async function drill(broker: Broker, atEnd: AtEnd) {
  const { url, sql, clock, disk } = await database(atEnd)
  const address = serverUrl(broker) as string
  const name = uniqueName('drill')
  const faults: Faults = { bank: false, stock: false, hang: undefined, prices: 0 }
  const channel = (of: string) =>
    defineChannel(`${name}.${of}`, { payload: z.object({ n: z.number() }), partitions: 1, key: ({ n }) => String(n) })
  const channels = { orders: channel('orders'), prices: channel('prices'), mail: channel('mail') }
  const make = (version: number) =>
    defineSaga(`${name}-buy`, { version, input: z.object({}) })
      .step('pay', { pivot: true, invoke: () => 1 })
      .step('ship', {
        retry: { maxAttempts: 1 },
        invoke: () => {
          if (faults.bank) throw new Error('the bank is away')
        },
      })
  const versions = { 1: make(1), 2: make(2) }
  const stock: Binding = sink(channels.orders, { group: 'stock', maxAttempts: 1 }, () => {
    if (faults.stock) throw new Error('the warehouse is away')
  })
  const prices: Binding = sink(channels.prices, { group: 'prices', slowAfterMs: 5_000 }, async () => {
    await faults.hang?.promise
    faults.prices++
  })
  const running = new Set<{ close(): Promise<void> }>()
  atEnd(async () => {
    faults.hang?.resolve()
    await Promise.all([...running].map((each) => each.close()))
  })
  const start = async (version: 1 | 2): Promise<Service> => {
    const service = createService({
      name,
      sql,
      transport: openers[broker](address),
      bindings: [stock, prices],
      sends: Object.values(channels),
      sagas: [versions[version]],
      bus: ({ service: owner, instance, logger }) => createBus({ service: owner, instance, logger }),
    })
    running.add(service)
    await service.start()
    await service.ready({ timeoutMs: MINUTE })
    return service
  }
  /** The service `post`, which has the queue of the mail. */
  const startPost = async () => {
    const bindings = [sink(channels.mail, { group: 'mailer' }, () => {})]
    const binder = createBinder({ service: 'post', transport: openers[broker](address), bindings })
    running.add(binder)
    await binder.start()
    return binder
  }
  const cli = (...args: string[]) => ranHere([...args, '--postgres', url, `--${broker}`, address], {})
  const bare = (...args: string[]) => ranHere([...args, '--postgres', url], {})
  return {
    sql,
    url,
    clock,
    disk,
    address,
    name,
    channels,
    faults,
    versions,
    start,
    startPost,
    cli,
    bare,
    ...book(cli, bare),
  }
}

export type World = Awaited<ReturnType<typeof drill>>

type Cli = (...args: string[]) => Promise<{ readonly stdout: string; readonly stderr: string; readonly code: number }>

/** When each problem was planted, and its outcome. */
function book(cli: Cli, bare: Cli) {
  const plantedAt = new Map<string, number>()
  const solved: Solved[] = []
  const plant = (problem: string): void => void plantedAt.set(problem, performance.now())
  /** Looks until `doctor` has said all of them. @param patterns by problem */
  const found = async (patterns: Readonly<Record<string, RegExp>>, where: 'here' | 'with the broker' = 'here') => {
    const open = new Map(Object.entries(patterns))
    let said = ''
    const look = async (): Promise<boolean> => {
      said = (await (where === 'here' ? bare('doctor') : cli('doctor', '--listen', '2s'))).stdout
      for (const [problem, pattern] of open) {
        const line = pattern.exec(said)?.[0]
        if (line === undefined) continue
        open.delete(problem)
        const seconds = (performance.now() - (plantedAt.get(problem) ?? Number.NaN)) / 1_000
        solved.push({ problem, found: line.replaceAll(/ +/g, ' '), seconds, by: '' })
      }
      return open.size === 0
    }
    await until(`doctor finds ${[...open.keys()].join(', ')}`, look, MINUTE).catch((error: unknown) => {
      throw new Error(`${String(error)}; missing: ${[...open.keys()].join(', ')}\n${said}`)
    })
  }
  /** Runs a command as the help has it, which puts a problem right. @throws when it does not end well */
  const put = async (problem: string, run: Cli, ...args: string[]): Promise<string> => {
    const name = args.slice(0, args[0] === 'prepared' ? 1 : 2)
    const { stdout: help } = await ranHere([...name, '--help'], {})
    const unknown = args.filter((arg) => arg.startsWith('--') && !help.includes(`${arg} `) && arg !== '--yes')
    const { stdout, stderr, code } = await run(...args)
    if (code !== 0 || unknown.length > 0)
      throw new Error(`${args.join(' ')}: exit code ${code}, not in the help: ${unknown.join(' ')}\n${stdout}${stderr}`)
    right(problem, `concordat ${args.join(' ')}`)
    return stdout
  }
  /** Notes what else puts it right: what `doctor` advises, done by hand. */
  const right = (problem: string, by: string): void => {
    const line = solved.find((each) => each.problem === problem)
    if (line === undefined) throw new Error(`${problem} was put right before it was found`)
    line.by = line.by === '' ? by : `${line.by}; ${by}`
  }
  return { plant, found, put, right, solved }
}

/** @returns the name of the queue of its only partition, or of the topic */
export async function loseQueue({ address }: Pick<World, 'address'>, broker: Broker, { name }: Pick<Channel, 'name'>) {
  if (broker === 'kafka') {
    const { Kafka, logLevel } = await import('kafkajs')
    const admin = new Kafka({ brokers: address.split(','), logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
    await admin.deleteTopics({ topics: [name] })
    await admin.disconnect()
    return
  }
  const { connect } = await import('amqplib')
  const connection = await connect(address)
  const channel = await connection.createChannel()
  await channel.deleteQueue(`${name}:mailer`)
  await connection.close()
}
