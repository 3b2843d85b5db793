import { spawn } from 'node:child_process'
import { createBinder, defineChannel } from 'concordat/binder'
import { silentLogger, systemClock } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { memoryTransport } from 'concordat/memory'
import { createOutbox } from 'concordat/outbox'
import { postgresLocks, postgresStateStore, postgresTransport } from 'concordat/postgres'
import { defineSaga } from 'concordat/saga'
import { createShardedCoordinator } from 'concordat/saga/coordinator'
import { closeOnSignals, createService } from 'concordat/service'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { uniqueName } from '../outbox/support/messages.ts'
import type { Closable } from '../support/inside/service.ts'
import { LogLines } from '../support/log-lines.ts'
import { freshPglite } from '../support/pglite.ts'
import { gate, until } from '../support/until.ts'

const database = freshPglite()
beforeAll(() => database.waitReady, 180_000)
afterAll(() => database.close())

/** A database whose statements wait from the first on, until it is opened. */
function held() {
  const hold = gate()
  const asked = gate()
  const client = pgliteClient(database)
  const wait = async (): Promise<void> => {
    asked.open()
    await hold.opened
  }
  const sql: typeof client = {
    ...client,
    query: async (...given: Parameters<typeof client.query>) => {
      await wait()
      return client.query(...given)
    },
    transaction: async (...given: Parameters<typeof client.transaction>) => {
      await wait()
      return client.transaction(...given)
    },
  } as typeof client
  return { sql, hold, asked }
}

function starting(options: { drainTimeoutMs?: number } = {}) {
  const { sql, hold, asked } = held()
  const log = new LogLines()
  const schema = uniqueName('starting')
  const transport = memoryTransport()
  const service = createService({ name: 'shop', sql, schema, transport, logger: log.logger, ...options })
  const started = service.start().then(
    () => 'started',
    (error: unknown) => error,
  )
  return { service, started, hold, asked, log }
}

describe('a service that is closed while it starts', () => {
  it('finishes the statement under way, begins none after it, and rejects with ServiceClosed', async () => {
    const { service, started, hold, asked, log } = starting()
    await asked.opened
    let isClosed = false
    const closed = service.close().then(() => (isClosed = true))
    await new Promise((resolve) => setImmediate(resolve))
    expect(isClosed).toBe(false)
    hold.open()
    await closed
    expect(await started).toMatchObject({ code: 'service.closed' })
    expect(service.binder.health().status).not.toBe('up')
    expect(log.lines.map(({ message }) => message)).not.toContain('service started')
    expect(log.lines.filter(({ message }) => /could not|failed/.test(message))).toEqual([])
  })

  it('is refused when it is started again while it closes', async () => {
    const { service, started, hold } = starting()
    hold.open()
    expect(await started).toBe('started')
    const closed = service.close()
    await expect(service.start()).rejects.toMatchObject({ code: 'service.closed' })
    await closed
    await expect(service.start()).rejects.toMatchObject({ code: 'service.closed' })
  })

  it('refuses the start of its binder, which is closed in between', async () => {
    const transport = memoryTransport()
    const opened = gate()
    const provision = transport.provision.bind(transport)
    transport.provision = (specs) => opened.opened.then(() => provision(specs))
    const channel = defineChannel('some', { payload: z.object({}) })
    const binder = createBinder({ service: 'shop', transport, sends: [channel] })
    const started = binder.start().catch((error: unknown) => error)
    const closed = binder.close()
    opened.open()
    await closed
    expect(await started).toMatchObject({ code: 'binder.closed' })
  })

  it('does not wait longer than drainTimeoutMs for a statement without an answer', async () => {
    const { service, started, hold, asked } = starting({ drainTimeoutMs: 50 })
    onTestFinished(() => hold.open())
    await asked.opened
    await service.close()
    expect(await started).toMatchObject({ code: 'service.closed' })
  })
})

describe('a signal while a service starts', () => {
  /** No other listener here. */
  const SIGNAL = 'SIGUSR2'
  const wire = (service: Closable, then: () => unknown) => {
    const handling = closeOnSignals({ after: [service, then], signals: [SIGNAL], exit: false })
    onTestFinished(() => handling.stop())
    return handling
  }

  it('rejects the start only when all is closed, and logs in one line that it is given up', async () => {
    const { service, started, hold, asked, log } = starting()
    const order: string[] = []
    const pool = gate()
    const { closed } = wire(service, async () => {
      await pool.opened
      order.push('the pool is closed')
    })
    void started.then(() => order.push('the start rejects'))
    await asked.opened
    process.emit(SIGNAL, SIGNAL)
    hold.open()
    await until('it is told', () => log.lines.some(({ message }) => message.includes('given up')))
    expect(order).toEqual([])
    pool.open()
    await closed
    expect(await started).toMatchObject({ code: 'service.closed' })
    expect(order).toEqual(['the pool is closed', 'the start rejects'])
    expect(log.lines.filter(({ message }) => message.includes('given up'))).toMatchObject([
      { message: 'start() is given up: the process was told to end', fields: { signal: SIGNAL } },
    ])
  })

  it('holds a ready() back in the same way', async () => {
    const order: string[] = []
    const waiting = createService({ name: 'waiting', transport: memoryTransport() })
    const { closed } = wire(waiting, () => order.push('the pool is closed'))
    const ready = waiting.ready().catch((error: unknown) => {
      order.push('ready rejects')
      return error
    })
    process.emit(SIGNAL, SIGNAL)
    await closed
    expect(await ready).toMatchObject({ code: 'service.closed' })
    expect(order).toEqual(['the pool is closed', 'ready rejects'])
  })

  it.for(['SIGTERM', 'SIGINT'] as const)('%s ends the process by itself, without a stack trace', async (signal) => {
    const program = `
      import { memoryTransport } from 'concordat/memory'
      import { memoryLocks } from 'concordat/memory'
      import { createService } from 'concordat/service'
      const slow = Object.assign(memoryLocks(), { migrate: async () => {
        process.kill(process.pid, '${signal}')
        await new Promise((resolve) => setTimeout(resolve, 50))
      } })
      const service = createService({ name: 'shop', transport: memoryTransport(), locks: slow })
      void service.closeOnSignals({ then: [() => new Promise((resolve) => setTimeout(resolve, 50)), () => console.log('all closed')] })
      await service.start()
      console.log('started')`
    const child = spawn(process.execPath, ['--conditions=concordat-source', '--input-type=module', '-e', program])
    const said = { stdout: '', stderr: '' }
    child.stdout.on('data', (chunk) => (said.stdout += String(chunk)))
    child.stderr.on('data', (chunk) => (said.stderr += String(chunk)))
    const end = await new Promise((resolve) => child.on('close', (code, by) => resolve(by ?? code)))
    expect(said.stdout).toBe('all closed\n')
    expect(said.stderr).toMatch(
      /^\S+ WARN concordat: start\(\) is given up: the process was told to end \| service=shop signal=SIG\w+\n$/,
    )
    expect(end).toBe(signal)
  })
})

type ServiceParts = Partial<Parameters<typeof createService>[0]>

/** A service with tables of one part. */
function ofService(parts: (schema: string) => ServiceParts) {
  const started = async (schema: string, migrate: 'apply' | 'check') => {
    const service = createService({ name: 'shop', schema, transport: memoryTransport(), migrate, ...parts(schema) })
    await service.start()
    await service.close()
  }
  return {
    make: (schema: string) => started(schema, 'apply'),
    check: (schema: string) => started(schema, 'check'),
  }
}

/** Every part that checks its tables. */
const CHECKED = {
  outbox: ofService(() => ({ sql: pgliteClient(database) })),
  transport: ofService((schema) => ({ transport: postgresTransport({ sql: pgliteClient(database), schema }) })),
  locks: ofService((schema) => ({ locks: postgresLocks({ sql: pgliteClient(database), schema }) })),
  cluster: ofService((schema) => ({
    cluster: { store: postgresStateStore({ sql: pgliteClient(database), schema }) },
  })),
  'transport without a service': {
    make: (schema: string) => postgresTransport({ sql: pgliteClient(database), schema }).migrate(),
    check: async (schema: string) => {
      const transport = postgresTransport({ sql: pgliteClient(database), schema, provision: 'check' })
      transport.attach({ service: 'shop', instance: 'i', logger: silentLogger, clock: systemClock })
      onTestFinished(() => transport.close())
      await transport
        .provision([{ name: 'numbers', partitions: 1, groups: [] }])
        .catch((error: Error) => Promise.reject(error.cause))
    },
  },
  shards: {
    make: (schema: string) => sharded(schema).migrate(),
    check: (schema: string) => sharded(schema).run(),
  },
}

const noted = defineSaga('noted', { version: 1, input: z.object({}) }).step('note', {
  invoke: () => 'done',
  compensate: 'none',
})

function sharded(schema: string) {
  const sql = pgliteClient(database)
  const outbox = createOutbox({ sql, schema, service: 'shop' })
  const coordinator = createShardedCoordinator({
    service: 'shop',
    sagas: [noted],
    shards: { a: { sql, outbox, schema } },
  })
  onTestFinished(() => coordinator.close())
  return coordinator
}

describe('a part that only checks its tables', () => {
  const checking = (schema: string) => {
    const sql = pgliteClient(database)
    return createService({ name: 'shop', sql, schema, transport: memoryTransport(), migrate: 'check' })
  }

  it('names the command and the option that make missing tables', async () => {
    const schema = uniqueName('empty')
    await expect(checking(schema).start()).rejects.toMatchObject({
      code: 'core.tables_missing',
      message: `tables are missing in schema "${schema}": as their owner, run npx concordat migrate apply --schema ${schema} --reason "first use", start the service with migrate: 'apply', or call outbox.migrate() with the same schema and database`,
    })
  })

  it('names the part whose tables are missing beside those of others', async () => {
    const schema = uniqueName('half')
    await createOutbox({ sql: pgliteClient(database), schema, service: 'shop' }).migrate()
    await expect(checking(schema).start()).rejects.toMatchObject({
      code: 'core.tables_missing',
      message: expect.stringContaining(`npx concordat migrate apply --part inbox --schema ${schema} --reason`),
    })
  })

  it.each(Object.entries(CHECKED))(
    'names the role, what it lacks and the command that prints its grants, from the tables of its %s',
    async (_, { make, check }) => {
      const schema = uniqueName('denied')
      const role = uniqueName('role')
      const sql = pgliteClient(database)
      await make(schema)
      await sql.query(`CREATE ROLE ${role}`)
      await sql.query(`SET ROLE ${role}`)
      onTestFinished(async () => void (await sql.query('RESET ROLE')))
      await expect(check(schema)).rejects.toMatchObject({
        code: 'core.rights_missing',
        retryable: true,
        schema,
        role,
        message: expect.stringMatching(
          `^the role "${role}" lacks USAGE on ${schema}, .*: as the owner of the tables, run what this prints: npx concordat migrate grants --role ${role} --schema ${schema}$`,
        ),
      })
    },
  )

  it('names a table that its role may not read in a schema that it may use', async () => {
    const schema = uniqueName('half_denied')
    const role = uniqueName('role')
    const sql = pgliteClient(database)
    const owner = createService({ name: 'shop', sql, schema, transport: memoryTransport() })
    await owner.start()
    await owner.close()
    await sql.query(`CREATE ROLE ${role}`)
    await sql.query(`GRANT USAGE ON SCHEMA ${schema} TO ${role}`)
    await sql.query(`GRANT SELECT ON ${schema}.concordat_migration TO ${role}`)
    await sql.query(`SET ROLE ${role}`)
    onTestFinished(async () => void (await sql.query('RESET ROLE')))
    await expect(checking(schema).start()).rejects.toMatchObject({
      code: 'core.rights_missing',
      lacking: expect.arrayContaining(['SELECT on outbox_meta']),
    })
  })
})
