/**
 * The command line against a server with known content. Every example of the help is run, those that use files as a process;
 * others as the process runs them, without the second that it takes to start.
 */
import { execFile, spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { createOperator } from '@concordat/cli'
import { createBinder } from 'concordat/binder'
import { memoryTransport } from 'concordat/memory'
import { createOutbox } from 'concordat/outbox'
import { defineSaga, Refusal } from 'concordat/saga'
import { type Coordinator, createCoordinator } from 'concordat/saga/coordinator'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
// oxlint-disable-next-line no-restricted-imports -- inside of the command line: its examples, to run each of them
import { COMMANDS } from '../../packages/cli/commands/run-command-line.ts'
import { createDatabase, type TestDatabase } from '../outbox/support/postgres.ts'
import { describeWith } from '../support/servers/index.ts'
import { until } from '../support/until.ts'
import { type Ran, ranHere } from './support/cli.ts'
import { type Closing, placed, withBranches, withBus, withLetters, withLocks } from './support/cli-content.ts'
import { emptyPlace, wordsOf } from './support/examples.ts'

const MAIN = [`--conditions=concordat-source`, resolve('packages/cli/commands/main.ts')]
const PASSWORD = 'hunter2/secret'
const Empty = z.object({})

/** Stuck after its pivot. */
const buy = defineSaga('buy', { version: 1, input: Empty })
  .step('reserve', { invoke: () => ({ shelf: 7 }), pivot: true })
  .step('pay', {
    retry: { maxAttempts: 1 },
    invoke: () => {
      throw new Refusal('bank.closed', 'closed\u001b[31m on Sundays')
    },
  })
/** Stuck on its pivot, which is in doubt. */
const rent = defineSaga('rent', { version: 1, input: Empty })
  .step('sign', { invoke: () => undefined, compensate: () => undefined })
  .step('pay', {
    retry: { maxAttempts: 1 },
    pivot: true,
    invoke: () => Promise.reject(new Error('the line went dead')),
  })
/** Reports that it runs while no handler is called. */
const wait = defineSaga('wait', { version: 1, input: Empty })
  .step('sign', { invoke: () => undefined, compensate: () => undefined })
  .signal('call', { payload: Empty })

/** For the commands that read what services declare. */
const DECLARATIONS = `export const orders = { name: 'orders', sends: [{ name: 'orders.placed', partitions: 4, groups: [] }] }`

describeWith(['postgres'], 'npx concordat', () => {
  let database: TestDatabase
  let coordinator: Coordinator
  let folder: string
  let held: Closing
  let onBus: Closing
  const levels: string[] = []

  /** The address has a password in it, which a server that trusts its clients does not ask for. */
  const address = (): string => {
    const url = new URL(database.url)
    if (url.password === '') url.password = PASSWORD
    return url.href
  }
  const { PATH, NODE_COMPILE_CACHE } = process.env
  const env = () => ({ PATH, NODE_COMPILE_CACHE, CONCORDAT_POSTGRES: address(), CONCORDAT_BY: 'ann' })
  const ran = (work: Promise<{ stdout: string; stderr: string }>): Promise<Ran> =>
    work.then(
      ({ stdout, stderr }) => ({ stdout, stderr, code: 0 }),
      ({ stdout, stderr, code }: Ran) => ({ stdout, stderr, code }),
    )
  const cli = (...args: string[]): Promise<Ran> => ranHere(args, env())
  const json = async (...args: string[]): Promise<unknown> => JSON.parse((await cli(...args, '--json')).stdout)

  beforeAll(async () => {
    database = await createDatabase()
    folder = await mkdtemp(join(tmpdir(), 'concordat-cli-'))
    await writeFile(join(folder, 'concordat.config.ts'), DECLARATIONS)
    const { sql } = database
    await createOperator({ sql }).migrate({ by: 'test', reason: 'setup' })
    const outbox = createOutbox({ sql, service: 'shop' })
    await outbox.migrate()
    await withBranches(sql, outbox)
    coordinator = createCoordinator({ service: 'shop', sql, outbox, sagas: [buy, rent, wait], pollMs: 100 })
    await coordinator.run()
    const binder = createBinder({ service: 'shop', transport: memoryTransport(), bindings: coordinator.bindings })
    await binder.start()
    for (const id of ['o-1', 'o-2', 'o-3', 'o-4', 'o-5', 'o-6']) {
      await (await coordinator.start(buy, { id, input: {} })).outcome()
    }
    for (const id of ['r-1', 'r/2']) await (await coordinator.start(rent, { id, input: {} })).outcome()
    for (const id of ['w-1', 'w-2']) await coordinator.start(wait, { id, input: {} })
    for (const id of ['m-1', 'm-2', 'm-3']) await sql.transaction((tx) => outbox.add(tx, placed, { n: 1 }, { id }))
    await sql.query(
      `UPDATE concordat.outbox SET next_attempt_at = 'infinity', parked_at = now(), last_error = 'no topic'`,
    )
    await binder.close()
    await withLetters(sql)
    held = await withLocks(sql)
    onBus = await withBus(sql, levels)
  }, 120_000)
  afterAll(async () => {
    await onBus.close()
    await held.close()
    await coordinator.close()
    await database.drop()
    await rm(folder, { recursive: true, force: true })
  })

  describe('shows', () => {
    test('shows stuck sagas, as a table and as JSON of a stable shape', async () => {
      const { stdout } = await cli('saga', 'list', '--status', 'stuck', '--saga', 'rent')
      expect(stdout).toMatch(
        /^SAGA\/ID +V +STATUS +FAILED AT +CODE +WAITS ON +STARTED +CHANGED\nrent\/r-1 +1 +stuck +pay/,
      )
      expect(await json('saga', 'list', '--saga', 'rent', '--limit', '1')).toEqual({
        sagas: [
          {
            saga: 'rent',
            id: 'r-1',
            version: 1,
            status: 'stuck',
            failure: { step: 'pay', code: 'Error', message: 'the line went dead' },
            waitingOn: ['pay'],
            owner: null,
            startedAt: expect.any(Number),
            changedAt: expect.any(Number),
            pendingActions: 0,
            timesStuck: 1,
          },
        ],
        next: expect.any(String),
      })
    })

    test('a saga without its payloads and without what steers a terminal', async () => {
      const { stdout } = await cli('saga', 'show', 'buy/o-6')
      expect(stdout).toContain('stuck on pay: bank.closed: closed [31m on Sundays')
      expect(stdout).not.toContain('\u001b')
      expect(stdout).not.toContain('shelf')
      expect((await cli('saga', 'show', 'buy/o-6', '--payloads')).stdout).toContain('reserve: {"shelf":7}')
    })

    test('shows the findings of the doctor, with the exit code of the worst', async () => {
      const { stdout, code } = await cli('doctor')
      expect(code).toBe(1)
      expect(stdout).toMatch(/^ok {4}connection /)
      expect(stdout).toMatch(/warn {2}sagas +8 stuck.*\n +-> npx concordat saga list --status stuck/)
      expect(stdout).toMatch(/warn {2}parked +3 parked/)
    })
  })

  describe('shows what is in the log, the locks and the cluster', () => {
    test('dead letters, without payloads and without what steers a terminal', async () => {
      const { stdout } = await cli('dlq', 'list', 'orders.placed', 'stock')
      expect(stdout).toMatch(/^o-1 +- .*1 +warehouse\.away +no answer from \[31m the/m)
      const one = await cli('dlq', 'show', 'orders.placed', 'stock', 'o-1')
      expect(one.stdout).toMatch(/^header region +eu$/m)
      expect(one.stdout).not.toContain('{"n":1}')
      expect((await cli('dlq', 'show', 'orders.placed', 'stock', 'o-1', '--payloads')).stdout).toContain('{"n":1}')
      expect(await json('dlq', 'show', 'orders.placed', 'stock', 'o-1', '--payloads')).toMatchObject({
        letters: [
          { id: 'o-1', attempts: 1, error: { code: 'warehouse.away' }, payload: { text: '{"n":1}', encoding: 'utf8' } },
        ],
      })
      expect((await cli('dlq', 'show', 'orders.placed', 'stock', 'none')).code).toBe(1)
    })

    test('how far behind groups are', async () => {
      const lag = { channel: 'orders.placed', group: 'stock', lag: 0, letters: 3, readers: 0 }
      expect(await json('lag', 'orders.placed', 'stock')).toEqual({ groups: [lag] })
      expect(await json('lag')).toEqual({
        groups: expect.arrayContaining([lag]),
      })
    })

    test('shows rows held by branches of undo, and prepared transactions', async () => {
      expect((await cli('undo', 'list')).stdout).toMatch(/^SAGA\/ID +STEP .*\norder\/o-1 +reserve +orders /)
      expect(await json('undo', 'show', 'order/o-1', 'reserve')).toMatchObject({ id: 'o-1', differences: [] })
      expect((await cli('undo', 'settle', 'order/o-1', 'reserve', '--reason', 'x', '--yes')).code).toBe(2)
      expect(await json('prepared')).toEqual({ prepared: [], more: false })
    })

    test('locks, leaders, members and state', async () => {
      expect(await json('locks', 'list', '--keys', 'sku:')).toMatchObject({
        locks: [{ key: 'sku:apple', holders: [{ owner: 'shop-1', mode: 'exclusive' }] }],
      })
      expect((await cli('locks', 'show', 'sku:none')).stdout).toBe('sku:none: it has no holder\n')
      const leader = { role: 'settlement', instance: 'shop-1', candidates: [] }
      expect(await json('leader', 'list')).toMatchObject({ leaders: [leader] })
      const member = { instance: 'shop-1', service: 'orders', status: 'alive', meta: { port: 80 } }
      expect(await json('members', 'shop')).toMatchObject({ cluster: 'shop', members: [member] })
      expect(await json('state', 'shop', 'prices')).toMatchObject({ entries: [{ key: 'pear', value: 3 }] })
    })

    test('shows the work of every instance, once and repeatedly', async () => {
      expect(await json('instances', '--listen', '3s')).toMatchObject({
        instances: [{ address: 'shop:default:shop-1', service: 'shop', notRunning: [] }],
        bindings: [],
        leftOut: 0,
      })
      const nobody = await cli('instances', 'stock:**', '--listen', '1s')
      expect(nobody).toMatchObject({
        code: 1,
        stdout: expect.stringContaining('unknown: no instance that fits is heard'),
      })
      const watching = spawn(process.execPath, [...MAIN, 'instances', '--watch', '--listen', '3s'], { env: env() })
      let seen = ''
      watching.stdout.on('data', (part: Buffer) => (seen += part.toString()))
      const ended = new Promise((resolve) => watching.once('exit', resolve))
      await until('it was printed twice', () => seen.split('shop:default:shop-1').length > 2)
      watching.kill('SIGINT')
      expect(await ended).toBe(0)
    })

    test('shows the instances on the bus, and those that handled an event', async () => {
      expect(await json('bus', 'members', '--listen', '3s')).toEqual({
        members: [{ service: 'shop', group: 'default', instance: 'shop-1' }],
      })
      const order = ['--payload', '{"level":"warn"}', '--listen', '3s', '--reason', 'too many lines', '--yes']
      expect(await json('bus', 'send', 'set-log-level', '--to', 'shop:**', ...order)).toMatchObject({
        event: 'concordat.set-log-level',
        acked: ['shop:default:shop-1'],
        done: true,
      })
      expect(levels).toContain('warn')
      const nobody = await cli('bus', 'send', 'refresh', '--to', 'stock:**', '--reason', 'x', '--yes')
      expect(nobody).toMatchObject({ code: 1, stdout: 'No instance on the bus matches stock:**: nothing was sent.\n' })
      const { actions } = (await json('audit')) as { readonly actions: readonly object[] }
      expect(actions).toContainEqual(
        expect.objectContaining({ part: 'bus', target: 'shop:**', by: 'ann', reason: 'too many lines' }),
      )
    })
  })

  test('--watch looks again and again, a line each with --json', async () => {
    const child = spawn(process.execPath, [...MAIN, 'outbox', 'list', '--watch', '--json'], { env: env() })
    let said = ''
    child.stdout.on('data', (chunk) => (said += String(chunk)))
    await until('it has looked twice', () => said.split('\n').length > 2, 30_000)
    child.kill('SIGINT')
    const lines = said.trim().split('\n')
    expect(lines.map((line) => (JSON.parse(line) as { stats: { parked: number } }).stats.parked)).toEqual(
      lines.map(() => 3),
    )
  })

  describe('refuses', () => {
    test.each([
      [['dlq', 'list', 'orders.placed'], 'this needs CHANNEL GROUP'],
      [['dlq', 'drop', 'orders.placed', 'stock', '--reason', 'x'], 'stdin is not a terminal: pass --yes'],
      [['dlq', 'redrive', 'orders.placed', 'stock', '--yes'], 'this needs --reason TEXT'],
      [
        ['dlq', 'redrive', 'orders.placed', 'stock', '--to', 'there', '--reason', 'x'],
        '--to: expected channel or group',
      ],
      [['dlq', 'list', 'a', 'b', '--kafka', `u:${PASSWORD}@h:1`], '--kafka: expected brokers such as kafka-1:9092'],
      [['dlq', 'list', 'a', 'b', '--rabbitmq', `http://u:${PASSWORD}@h`], '--rabbitmq: expected an address such as'],
      [
        ['dlq', 'list', 'a', 'b', '--kafka', 'h:1', '--rabbitmq', 'amqp://h'],
        'Kafka and RabbitMQ: give the address of one',
      ],
      [['locks', 'list', '--redis', `http://u:${PASSWORD}@h`], '--redis: expected an address such as'],
      [['locks', 'release', 'sku:apple', '--reason', 'x'], 'stdin is not a terminal: pass --yes'],
      [['bus', 'send', 'refresh', '--reason', 'x'], 'this needs --to PATTERN'],
      [['bus', 'send', 'refresh', '--to', 'shop', '--reason', 'x'], 'is no bus address'],
      [
        ['bus', 'send', 'refresh', '--to', '**', '--payload', `{"${PASSWORD}`, '--reason', 'x'],
        '--payload: expected JSON',
      ],
      [['bus', 'send', 'refresh', '--to', 'shop:**', '--reason', 'x'], 'stdin is not a terminal: pass --yes'],
      [['completion', 'tcsh'], 'SHELL: expected one of bash, zsh, fish'],
      [['saga', 'retry', 'buy/o-6'], 'this needs --reason TEXT'],
      [['saga', 'retry', '--reason', 'x'], 'this needs SAGA/ID, or options that pick sagas'],
      [['saga', 'show', 'buy'], 'expected SAGA/ID, got "buy"'],
      [['saga', 'retry', 'buy', 'o-6'], 'expected SAGA/ID as one argument, such as buy/o-1, got "buy o-6"'],
      [['saga', 'resolve', 'buy/o-6', '--reason', 'x'], 'this needs --outcome'],
      [['saga', 'list', '--status', 'odd'], 'sagas.list.status: expected one of running'],
      [['saga', 'list', '--older-than', 'long'], '--older-than: expected a duration such as 90s'],
      [['saga', 'list', '--statsu', 'stuck'], "unknown option '--statsu': did you mean --status?"],
      [['saga', 'frob'], 'unknown command "saga frob": expected "saga list"'],
      [['saga', 'skip', 'buy/o-6', '--reason', 'x'], 'stdin is not a terminal: pass --yes'],
      [['saga', 'cancel', '--saga', 'wait', '--reason', 'x'], 'stdin is not a terminal: pass --yes'],
      [['outbox', 'drop', 'm-3', '--reason', 'x'], 'stdin is not a terminal: pass --yes'],
      [['outbox', 'list', '--postgres', `mysql://u:${PASSWORD}@h/d`], '--postgres: expected an address such as'],
      [['outbox', 'list', `postgres://u:${PASSWORD}@h/d`], 'unexpected argument "postgres://u:***@h/d"'],
    ])('%j: one line, exit code 2, no secret', async (args, message) => {
      const { code, stdout, stderr } = await cli(...args)
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
      expect(stderr).toContain(message)
      expect(stderr).not.toContain(PASSWORD)
      expect(await json('saga', 'show', 'buy/o-6')).toMatchObject({ status: 'stuck', pending: [] })
    })

    test.each([
      [['locks', 'list'], 'Here: --redis URL'],
      [['saga', 'list'], '--schema concordat, or set CONCORDAT_SCHEMA=concordat'],
    ])('%j where there is nothing of it, with what can be said here', async (args, remedy) => {
      const { code, stderr } = await cli(...args, '--schema', 'nothing_here')
      expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining(remedy) })
    })

    test('refuses missing or unfitting targets with exit code 1', async () => {
      const gone = await cli('saga', 'retry', 'buy/none', '--reason', 'x')
      expect(gone).toMatchObject({ code: 1, stderr: expect.stringContaining('no saga buy/none') })
      const unfit = await cli('saga', 'cancel', 'buy/o-6', '--reason', 'x', '--yes')
      expect(unfit).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('saga buy/o-6 refused "cancel": it is stuck'),
      })
      expect((await cli('outbox', 'retry', 'none', '--reason', 'x')).code).toBe(1)
    })

    test('a server that does not answer: exit code 3, and 2 of the doctor, without the password', async () => {
      const nobody = `postgres://u:${encodeURIComponent(PASSWORD)}@127.0.0.1:1/d`
      const list = await cli('outbox', 'list', '--postgres', nobody)
      expect(list).toMatchObject({
        code: 3,
        stdout: '',
        stderr: expect.stringMatching(
          /^concordat: PostgreSQL at 127\.0\.0\.1:1\/d does not answer: .+Check that it is up and reachable\. The address is from --postgres\n$/,
        ),
      })
      const doctor = await cli('doctor', '--postgres', nobody)
      expect(doctor).toMatchObject({ code: 2, stdout: expect.stringContaining('fail  connection') })
      expect(JSON.stringify([list, doctor])).not.toMatch(/hunter2/)
    })

    test('a broker or a Redis that does not answer: exit code 3 for these, too', async () => {
      const places = ['dlq', 'list', 'orders.placed', 'stock']
      const [rabbit, kafka, redis, bus, mysql] = await Promise.all([
        cli(...places, '--rabbitmq', `amqp://u:${encodeURIComponent(PASSWORD)}@127.0.0.1:1`),
        cli(...places, '--kafka', '127.0.0.1:1'),
        cli('locks', 'list', '--redis', `redis://u:${encodeURIComponent(PASSWORD)}@127.0.0.1:1`),
        cli('bus', 'members', '--listen', '1s', '--kafka', '127.0.0.1:1'),
        cli('prepared', '--mysql', `mysql://u:${encodeURIComponent(PASSWORD)}@127.0.0.1:1/d`),
      ])
      for (const [{ code, stderr }, name, option] of [
        [rabbit, 'RabbitMQ', '--rabbitmq'],
        [kafka, 'Kafka', '--kafka'],
        [bus, 'Kafka', '--kafka'],
        [redis, 'Redis', '--redis'],
        [mysql, 'MariaDB or MySQL', '--mysql'],
      ] as const) {
        const said = `^concordat: ${name} at 127\\.0\\.0\\.1:1(?:/d)? does not answer: .+ The address is from ${option}\n$`
        expect({ code, stderr }).toEqual({ code: 3, stderr: expect.stringMatching(new RegExp(said)) })
        expect(stderr).not.toContain('hunter2')
      }
    })

    test('a server that refuses this user: exit code 3, what to check, no secret', async () => {
      const url = new URL(database.url)
      url.username = 'nobody_here'
      url.password = encodeURIComponent(PASSWORD)
      const { code, stderr } = await cli('outbox', 'list', '--postgres', url.href)
      const refused = `PostgreSQL at ${url.host}${url.pathname} does not let this command in: `
      expect({ code, stderr }).toEqual({ code: 3, stderr: expect.stringContaining(refused) })
      expect(stderr).toContain('Check the user, its password and the database in --postgres')
      expect(stderr).not.toContain('hunter2')
    })

    test('to guess a database', async () => {
      const bare = promisify(execFile)(process.execPath, [...MAIN, 'doctor'], { env: { PATH: process.env['PATH'] } })
      expect(await ran(bare)).toMatchObject({ code: 2, stderr: expect.stringContaining('give --postgres URL') })
    })
  })

  describe('acts', () => {
    test('a dry run of dead letters changes nothing, and is told as such', async () => {
      const args = ['dlq', 'redrive', 'orders.placed', 'stock', '--code', 'warehouse.away', '--reason', 'it is back']
      expect(await json(...args, '--dry-run')).toMatchObject({ action: 'redrive', dryRun: true, sent: 3, kept: 0 })
      const other = await cli('dlq', 'drop', 'orders.placed', 'stock', '--code', 'other', '--reason', 'x', '--yes')
      expect(other).toMatchObject({ code: 1, stdout: 'No dead letter fits.\n' })
      expect(await json('lag', 'orders.placed', 'stock')).toMatchObject({ groups: [{ letters: 3 }] })
    })

    test('dry runs change nothing; with --yes each that fits is done, by whom and why', async () => {
      const args = ['saga', 'cancel', '--saga', 'wait', '--id-prefix', 'w-2', '--reason', 'rang up']
      expect(await json(...args, '--dry-run')).toEqual({
        dryRun: true,
        more: false,
        results: [{ saga: 'wait', id: 'w-2', action: 'cancel', outcome: 'would', status: 'running' }],
      })
      expect(await json(...args, '--yes')).toMatchObject({
        dryRun: false,
        results: [{ id: 'w-2', outcome: 'applied' }],
      })
      const { timeline } = (await json('saga', 'show', 'wait/w-2')) as { timeline: { kind: string; detail?: object }[] }
      expect(timeline.find(({ kind }) => kind === 'operator-cancel')?.detail).toMatchObject({
        by: 'ann',
        reason: 'rang up',
      })
    })

    test('an id may hold a slash', async () => {
      const args = ['saga', 'resolve', 'rent/r/2', '--outcome', 'compensated', '--reason', 'x', '--yes']
      expect(await json(...args)).toMatchObject({ results: [{ id: 'r/2', status: 'compensated' }] })
    })
  })

  // The console goes on until it is stopped: test/operate/console/cli.int.test.ts. What init makes is run in test/house/starter.test.ts.
  const examples = COMMANDS.filter(({ name }) => name !== 'console').flatMap(({ name, examples: each }) =>
    each.map((example) => ({ name, example })),
  )

  // Commands that read or write files run as a process in a folder of their own, the others in this process.
  test.each(examples)('example: $example', async ({ name, example }) => {
    const usesFiles = example.includes('>') || /^(?:init|asyncapi|topology)/.test(name)
    const { stderr, code } = usesFiles ? await runInFolder(name, example) : await cli(...wordsOf(example))
    expect(stderr).toBe('')
    expect(code).toBe(name === 'doctor' ? 1 : 0)
  })

  async function runInFolder(name: string, example: string): Promise<Ran> {
    const command = example.replace(
      'npx concordat',
      `'${process.execPath}' ${MAIN.map((part) => `'${part}'`).join(' ')}`,
    )
    const place = name === 'init' ? await emptyPlace(folder, env()) : { cwd: folder, env: env() }
    return ran(promisify(execFile)('sh', ['-c', command], place))
  }

  test('the help of a group names its commands', async () => {
    const { stdout, code } = await cli('saga', '--help')
    expect(code).toBe(0)
    expect(stdout).toContain('saga compensate')
    expect(stdout).not.toContain('outbox drop')
  })

  test.each(COMMANDS.map(({ name }) => name))('%s --help shows its options and examples', async (name) => {
    const { stdout, code } = await cli(...name.split(' '), '--help')
    expect(code).toBe(0)
    expect(stdout).toMatch(new RegExp(`^Usage: concordat ${name}`))
    expect(stdout).toContain('Examples:\n  npx concordat')
    expect(stdout).toContain('--json')
  })
})
