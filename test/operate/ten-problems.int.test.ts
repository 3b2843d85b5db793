/** Ten problems of a running system, on each broker: `doctor` finds each, and the command line puts it right. */
import { type Binding, defineChannel, sink } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import type { Transport } from 'concordat/binder/transport'
import { createBus } from 'concordat/bus'
import { defineSaga } from 'concordat/saga'
import { createService, type Service } from 'concordat/service'
import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { uniqueName } from '../outbox/support/messages.ts'
import { createDatabase } from '../outbox/support/postgres.ts'
import { kafkajsOn } from '../support/kafka-driver.ts'
import { describeWith, serverUrl } from '../support/servers/index.ts'
import { until } from '../support/until.ts'
import { ranHere } from './support/cli.ts'

const WHY = ['--reason', 'a drill', '--yes']
const MINUTE = 60_000

const openers = {
  rabbitmq: (url: string): Transport => rabbitTransport({ url }),
  kafka: (brokers: string): Transport => kafkajsOn(brokers),
}

/** What is broken, and put right by the outside world: a bank, a handler. */
interface Faults {
  bank: boolean
  stock: boolean
  hang: PromiseWithResolvers<void> | undefined
}

async function setup(broker: 'rabbitmq' | 'kafka') {
  const database = await createDatabase()
  onTestFinished(() => database.drop())
  const address = serverUrl(broker) as string
  const name = uniqueName('drill')
  const orders = defineChannel(`${name}.orders`, { payload: z.object({ n: z.number() }), partitions: 1 })
  const faults: Faults = { bank: false, stock: false, hang: undefined }
  const make = (number: number) =>
    defineSaga(`${name}-buy`, { version: number, input: z.object({}) })
      .step('reserve', { invoke: () => 1, compensate: 'none' })
      .step('pay', { pivot: true, invoke: () => 1 })
      .step('ship', {
        retry: { maxAttempts: 1 },
        invoke: () => {
          if (faults.bank) throw new Error('the bank is away')
        },
      })
  const versions = [make(1), make(2)] as const
  const version = (number: 1 | 2) => versions[number - 1] as (typeof versions)[0]
  const stock: Binding = sink(orders, { group: 'stock', maxAttempts: 1, slowAfterMs: 5_000 }, async () => {
    if (faults.stock) throw new Error('the warehouse is away')
    await faults.hang?.promise
  })
  const start = async (number: 1 | 2): Promise<Service> => {
    const service = createService({
      name,
      sql: database.sql,
      transport: openers[broker](address),
      bindings: [stock],
      sends: [orders],
      sagas: [version(number)],
      bus: ({ service: owner, instance, logger }) => createBus({ service: owner, instance, logger }),
    })
    await service.start()
    await service.ready({ timeoutMs: MINUTE })
    return service
  }
  const cli = (...args: string[]) => ranHere([...args, '--postgres', database.url, `--${broker}`, address], {})
  const bare = (...args: string[]) => ranHere([...args, '--postgres', database.url], {})
  const found = async (pattern: RegExp): Promise<void> => {
    let said = ''
    const look = async (): Promise<boolean> => {
      said = (await cli('doctor')).stdout
      return pattern.test(said)
    }
    await until(`doctor says ${pattern.source}`, look, MINUTE).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${said}`)
    })
  }
  return { database, name, orders, faults, version, start, cli, bare, found }
}

type World = Awaited<ReturnType<typeof setup>>

/** @returns the tables of operators are made: without them no letter is settled */
async function deadLetters({ orders, faults, cli, bare, found }: World, service: Service): Promise<void> {
  faults.stock = true
  for (const n of [1, 2]) await service.send(orders, { n })
  await found(/warn +letters +2 dead letters/)
  expect((await cli('dlq', 'list', orders.name, 'stock', '--partitions', '1')).stdout).toContain(
    'the warehouse is away',
  )
  faults.stock = false
  const redrive = () => cli('dlq', 'redrive', orders.name, 'stock', '--partitions', '1', ...WHY)
  const refused = await redrive()
  expect(refused).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('npx concordat migrate apply --part operator'),
  })
  expect((await bare('migrate', 'apply', '--part', 'operator', ...WHY)).code).toBe(0)
  expect(await redrive()).toMatchObject({ code: 0, stdout: expect.stringContaining('2 sent back') })
}

async function hangingHandler({ orders, faults, cli, found }: World, service: Service): Promise<void> {
  faults.hang = Promise.withResolvers()
  const messages = [1, 2, 3].map((n) => ({ n }))
  await service.binder.sendBatch(orders, messages)
  await found(/warn +handlers +\S+\.stock: a handler call has been running/)
  const { stdout } = await cli('lag', orders.name, 'stock', '--partitions', '1', '--json')
  expect(JSON.parse(stdout)).toMatchObject({ groups: [{ lag: 3 }] })
  expect((await cli('instances')).stdout).toContain('a handler call hangs')
  faults.hang.resolve()
  faults.hang = undefined
}

async function blockedProcess({ found }: World): Promise<void> {
  for (let n = 0; n < 6; n++) {
    for (const end = performance.now() + 2_600; performance.now() < end; );
    await new Promise((resolve) => setTimeout(resolve, 600))
  }
  await found(/warn +process +\S+: its event loop was blocked for/)
}

async function stuckSaga({ name, faults, version, bare, found }: World, service: Service): Promise<void> {
  const saga = version(1)
  await (await service.run(saga, { id: 's-1', input: {} })).outcome()
  faults.bank = true
  await service.run(saga, { id: 's-2', input: {} })
  await found(/warn +sagas +1 stuck/)
  expect((await bare('saga', 'list', '--status', 'stuck')).stdout).toContain('the bank is away')
  faults.bank = false
  const retried = await bare('saga', 'retry', `${name}-buy/s-2`, '--reason', 'the bank is open')
  expect(retried).toMatchObject({ code: 0, stdout: expect.stringContaining('applied') })
}

async function outboxProblems(
  { database, orders, bare, found }: World,
  start: () => Promise<Service>,
): Promise<Service> {
  // No relay runs: the service that adds it is closed at once.
  const { sql } = database
  const adder = await start()
  const { outbox } = adder
  await adder.close()
  await sql.transaction(async (tx) => void (await outbox?.add(tx, orders, { n: 9 }, { id: 'o-9' })))
  await sql.query(`UPDATE concordat.outbox SET added_at = now() - interval '2 minutes'`)
  await found(/warn +outbox +1 pending/)
  await sql.query(
    `UPDATE concordat.outbox SET attempts = 5, last_error = 'no queue gets it', next_attempt_at = now() + interval '1 hour'`,
  )
  await found(/warn +outbox +publishing to \S+ failed 5 times: no queue gets it/)
  expect((await bare('outbox', 'list')).stdout).toContain('no queue gets it')
  await sql.query(`UPDATE concordat.outbox SET next_attempt_at = 'infinity', parked_at = now()`)
  await found(/warn +parked +1 parked/)
  expect((await bare('outbox', 'retry', 'o-9', '--reason', 'the queue is there')).code).toBe(0)
  const service = await start()
  await until('it is sent', async () => (await sql.query('SELECT FROM concordat.outbox')).rows.length === 0, MINUTE)
  return service
}

async function unloadedVersion(
  { database, faults, name, found, bare, version }: World,
  first: Service,
  start: (n: 1 | 2) => Promise<Service>,
) {
  faults.bank = true
  const run = await first.run(version(1), { id: 's-3', input: {} })
  await until('it is stuck', async () => (await bare('saga', 'list', '--status', 'stuck')).stdout.includes('s-3'))
  await first.close()
  faults.bank = false
  const second = await start(2)
  const asked = await bare('saga', 'retry', `${name}-buy/s-3`, '--reason', 'the bank is open', '--wait', '1s')
  expect(asked.stdout).toContain('waiting')
  await database.sql.query(`UPDATE concordat.saga SET due_at = due_at - interval '2 minutes' WHERE id = 's-3'`)
  await found(/warn +sagas +1 wait for a coordinator/)
  const old = await start(1)
  await until(
    'it has ended',
    async () => !(await bare('saga', 'list', '--older-than', '0s')).stdout.includes('running'),
    MINUTE,
  )
  await old.close()
  void run
  return second
}

async function readOnly({ database, found }: World): Promise<void> {
  const { pathname } = new URL(database.url)
  const set = (how: string) =>
    database.sql.query(
      `ALTER DATABASE ${pathname.slice(1)} ${how} default_transaction_read_only${how === 'SET' ? ' = on' : ''}`,
    )
  await set('SET')
  await found(/fail +writable +default_transaction_read_only is on/)
  await database.sql.transaction(async (tx) => {
    await tx.query('SET TRANSACTION READ WRITE')
    await tx.query(`ALTER DATABASE ${pathname.slice(1)} RESET default_transaction_read_only`)
  })
  await found(/ok +writable +it takes writes/)
}

describeWith(['postgres', 'rabbitmq', 'kafka'], 'an operator with the command line alone', () => {
  test.for(['rabbitmq', 'kafka'] as const)(
    'finds ten problems of a system on %s within a minute each, and puts them right',
    { timeout: 15 * MINUTE },
    async (broker) => {
      const world = await setup(broker)
      const running: Service[] = []
      onTestFinished(async () => {
        world.faults.hang?.resolve()
        await Promise.all(running.map((service) => service.close()))
      })
      const start = async (number: 1 | 2): Promise<Service> => {
        const service = await world.start(number)
        running.push(service)
        return service
      }
      const first = await start(1)
      await deadLetters(world, first)
      await hangingHandler(world, first)
      await stuckSaga(world, first)
      await blockedProcess(world)
      await readOnly(world)
      const second = await unloadedVersion(world, first, start)
      await second.close()
      await outboxProblems(world, () => start(1))
    },
  )
})
