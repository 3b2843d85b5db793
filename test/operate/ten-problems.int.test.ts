/** Problems of a running system, on each broker: `doctor` finds each within a minute, and the command line puts it right. */
import { pgClient } from 'concordat/core/pg'
import type { Service } from 'concordat/service'
import pg from 'pg'
import { expect, test } from 'vitest'
import { describeWith } from '../support/servers/index.ts'
import { until } from '../support/until.ts'
import { type Broker, drill, loseQueue, MINUTE, type World } from './support/drill.ts'

const why = (reason: string): readonly string[] => ['--reason', reason]
const YES = '--yes'

/** Both drills run in this process: its event loop is blocked once for both, 10.4 s of a minute, never long enough to lose a lease. */
let blocked: { readonly done: Promise<void>; readonly until: number } | undefined
async function blockProcess(): Promise<void> {
  if (blocked === undefined || blocked.until < performance.now()) {
    blocked = { done: block(), until: performance.now() + 25_000 }
  }
  await blocked.done
}

async function block(): Promise<void> {
  for (let n = 0; n < 5; n++) {
    for (const end = performance.now() + 2_600; performance.now() < end; );
    await new Promise((resolve) => setTimeout(resolve, 300))
  }
}

/** Dead letters, a handler that hangs, a stuck saga, a blocked process, and a queue that is gone. */
async function troubleWhileItRuns(world: World, broker: Broker, first: Service): Promise<void> {
  const { name, channels, faults, versions, plant, cli, found } = world
  await (await first.run(versions[1], { id: 's-1', input: {} })).outcome()
  // A group that has committed something: what it has not is its lag.
  await first.send(channels.prices, { n: 0 })
  await until('it is handled', () => faults.prices === 1)
  faults.stock = true
  faults.bank = true
  faults.hang = Promise.withResolvers()
  for (const n of [1, 2]) await first.send(channels.orders, { n }, { id: `o-${n}` })
  plant('dead letters')
  await first.binder.sendBatch(channels.prices, [{ n: 1 }, { n: 1 }, { n: 1 }])
  plant('hanging handler')
  await first.run(versions[1], { id: 's-2', input: {} })
  plant('stuck saga')
  await loseMail(world, broker, first)
  plant('blocked process')
  await blockProcess()
  await found(
    {
      'dead letters': /warn +letters +2 dead letters .*/,
      'hanging handler': /warn +handlers +\S+\.prices: a handler call has been running.*/,
      'stuck saga': /warn +sagas +1 stuck.*/,
      'blocked process': /warn +process +\S+: its event loop was blocked for.*/,
    },
    'with the broker',
  )
  faults.stock = false
  faults.bank = false
  expect((await cli('lag', `${name}.prices`, 'prices', '--partitions', '1', '--json')).stdout).toContain('"lag": 3')
  await until(
    'instances names it',
    async () => (await cli('instances')).stdout.includes('a handler call hangs'),
    MINUTE,
  )
  world.right('hanging handler', 'concordat instances names the process; end it')
  world.right('blocked process', 'concordat instances names the process; end it, or give it CPU')
  faults.hang.resolve()
}

async function leavePrepared({ url }: World): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query('CREATE TABLE account (n int)')
  await client.query('BEGIN')
  await client.query('INSERT INTO account VALUES (1)')
  await client.query(`PREPARE TRANSACTION 'left-over'`)
  await client.end()
}

async function settleThem({ name, cli, bare, put }: World): Promise<void> {
  const place = [`${name}.orders`, 'stock']
  expect((await cli('dlq', 'list', ...place)).stdout).toContain('the warehouse is away')
  const redrive = ['dlq', 'redrive', ...place, ...why('the warehouse is back'), YES]
  for (const args of [redrive.with(-1, '--dry-run'), redrive])
    expect(await cli(...args)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('npx concordat migrate apply --part operator'),
    })
  await put('dead letters', bare, 'migrate', 'apply', '--part', 'operator', ...why('first use'), YES)
  expect(await put('dead letters', cli, ...redrive)).toContain('2 sent back')
  expect((await bare('saga', 'list', '--status', 'stuck')).stdout).toContain('the bank is away')
  const said = await put('stuck saga', bare, 'saga', 'retry', `${name}-buy/s-2`, ...why('the bank is open'))
  expect(said).toContain('applied')
}

/** No relay runs, a message is parked, a saga has a version that no instance has, and the database is read-only. */
async function troubleWithoutInstances(world: World, first: Service): Promise<void> {
  const { sql, url, name, channels, faults, versions, plant, found, bare } = world
  const { outbox } = first
  faults.bank = true
  await first.run(versions[1], { id: 's-3', input: {} })
  await until('it is stuck', async () => (await bare('saga', 'list', '--status', 'stuck')).stdout.includes('s-3'))
  await first.close()
  faults.bank = false
  const asked = await bare('saga', 'retry', `${name}-buy/s-3`, ...why('the bank is open'), '--wait', '1s')
  expect(asked.stdout).toContain('waiting')
  for (const n of [8, 9])
    await sql.transaction(async (tx) => void (await outbox?.add(tx, channels.orders, { n }, { id: `o-${n}` })))
  // The first minute is not waited for: it is over.
  await sql.query(`UPDATE concordat.saga SET due_at = due_at - interval '2 minutes' WHERE id = 's-3'`)
  await sql.query(`UPDATE concordat.outbox SET added_at = now() - interval '1 minute 1 second'`)
  await sql.query(
    `UPDATE concordat.outbox SET next_attempt_at = 'infinity', parked_at = now(), attempts = 9, last_error = 'no queue' WHERE id = 'o-8'`,
  )
  await sql.query('ALTER DATABASE postgres SET default_transaction_read_only = on')
  for (const problem of ['no relay', 'parked message', 'saga of no running version', 'read-only database'])
    plant(problem)
  await found({
    'no relay': /warn +outbox +2 pending.*/,
    'parked message': /warn +parked +1 parked.*/,
    'saga of no running version': /warn +sagas +1 wait for a coordinator.*/,
    'read-only database': /fail +writable +default_transaction_read_only is on/,
  })
  const admin = new pg.Pool({ connectionString: url, max: 1, options: '-c default_transaction_read_only=off' })
  await pgClient(admin).query('ALTER DATABASE postgres RESET default_transaction_read_only')
  await admin.end()
  world.right('read-only database', 'ALTER DATABASE postgres RESET default_transaction_read_only')
}

async function startAgain(world: World): Promise<void> {
  const { sql, name, put, bare, start } = world
  expect((await bare('outbox', 'list')).stdout).toContain('no queue')
  await put('parked message', bare, 'outbox', 'retry', 'o-8', ...why('the queue is there'))
  const other = await start(2)
  await start(1)
  await other.close()
  await until('all is sent', async () => (await sql.query('SELECT FROM concordat.outbox')).rows.length === 0, MINUTE)
  const completed = async () => (await bare('saga', 'list', '--status', 'completed')).stdout
  await until('it has ended', async () => (await completed()).includes(`${name}-buy/s-3 `), MINUTE)
  world.right('no relay', 'start an instance')
  world.right('saga of no running version', 'start an instance of that version')
}

/** The queue or the topic of another service is deleted while it does not run. */
async function loseMail(world: World, broker: Broker, service: Service): Promise<void> {
  const post = await world.startPost()
  await post.close()
  await loseQueue(world, broker, world.channels.mail)
  await service.transaction((tx) => tx.send(world.channels.mail, { n: 1 }, { id: 'm-1' }))
  world.plant('deleted queue')
}

async function deliverMail({ sql, plant, found, startPost, put, bare }: World, broker: Broker): Promise<void> {
  if (broker === 'kafka') {
    // Without the topic for a minute, brokers may have been restarted: its messages are late then, and have not failed.
    await until('it is late', async () => /warn +outbox +1 pending/.test((await bare('doctor')).stdout), MINUTE)
    plant('deleted queue')
  }
  await found({ 'deleted queue': /warn +outbox +publishing to \S+ failed \d+ times.*/ })
  await startPost()
  await put('deleted queue', bare, 'outbox', 'retry', 'm-1', ...why('its service runs again'))
  await until('it is sent', async () => (await sql.query('SELECT FROM concordat.outbox')).rows.length === 0, MINUTE)
}

/** A full disk, what stays prepared, and a clock that is wrong. */
async function troubleOfTheServer(world: World): Promise<void> {
  const { sql, disk, clock, plant, found, right, bare } = world
  await leavePrepared(world)
  plant('prepared transaction')
  disk.fill()
  plant('full disk')
  await found({ 'full disk': /fail +writable +it takes no writes: .*No space left on device/ })
  disk.makeRoom()
  right('full disk', 'make room')
  await found({ 'prepared transaction': /warn +prepared +left-over is prepared for.*\n.*COMMIT PREPARED.*/ })
  expect((await bare('prepared')).stdout).toContain('left-over')
  await sql.query(`ROLLBACK PREPARED 'left-over'`)
  right('prepared transaction', `ROLLBACK PREPARED 'left-over'`)
  clock.shift(2 * MINUTE)
  plant('skewed clock')
  await found({ 'skewed clock': /fail +clock +the server's clock is \d+ (?:s|min) ahead of this one/ })
  clock.shift(0)
  right('skewed clock', 'synchronize both machines (chrony)')
}

describeWith(['postgres'], 'an operator with the command line alone', { private: true }, () => {
  describeWith(['rabbitmq', 'kafka'], 'on a broker', () => {
    test.concurrent.for(['rabbitmq', 'kafka'] as const)(
      'finds twelve problems of a system on %s within a minute each, and puts them right',
      { timeout: 5 * MINUTE },
      async (broker, { expect: its, onTestFinished }) => {
        const world = await drill(broker, onTestFinished)
        const first = await world.start(1)
        await troubleWhileItRuns(world, broker, first)
        await settleThem(world)
        await deliverMail(world, broker)
        await troubleWithoutInstances(world, first)
        await startAgain(world)
        await troubleOfTheServer(world)
        const { stdout } = await world.cli('doctor')
        // The process was blocked less than a minute ago.
        its(stdout).not.toMatch(/^(?:warn|fail)(?! +process)/m)
        if (process.env['DRILL_TABLE'] !== undefined) console.table(world.solved)
        its(world.solved.filter(({ seconds, by }) => seconds > 60 || by === '')).toEqual([])
        its(world.solved).toHaveLength(12)
      },
    )
  })
})
