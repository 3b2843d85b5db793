/**
 * Processes that coordinate and die at any statement or commit, one after the other on the same tables. The participant
 * and the relays are other processes: they live on.
 */
import { createBinder, type SinkBinding } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { createOutbox, createRelay, type Outbox } from 'concordat/outbox'
import { migrateParticipant, type Saga, sagaReplies } from 'concordat/saga'
import { type Coordinator, createCoordinator } from 'concordat/saga/coordinator'
import { afterAll, beforeAll } from 'vitest'
import { until } from '../../support/until.ts'
import { serveParticipant } from './http-side.ts'
import { Dead, MortalClient } from './mortal.ts'
import { closeEmbedded, embedded } from './world.ts'

export interface CrashWorldOptions {
  /** Name for the schemas. */
  readonly name: string
  readonly sagas: readonly Saga<unknown, unknown, object>[]
  /** The binding of the other service, which is called `stock`. */
  readonly participant: (side: {
    readonly sql: SqlClient
    readonly outbox: Outbox
    readonly schema: string
  }) => SinkBinding
  /** Statements that create the tables for effects. */
  readonly tables: string
  /** Lease of the processes. The next one to run does not wait for it: the database says that no other is alive. @default 2_000 */
  readonly leaseMs?: number
  /** URL that the participant writes here when it is called by HTTP. */
  readonly place?: { url: string } | undefined
  /** Called before a process runs, when the participant is in the same process: with the client for its connections. */
  readonly within?: ((client: SqlClient) => void) | undefined
  /** A database that the caller closes. @default the embedded one of the file */
  readonly sql?: SqlClient | undefined
}

export interface Process {
  readonly coordinator: Coordinator
  end(): Promise<void>
}

/** Work of a process with its coordinator, and the check by the process after it. */
export interface Play {
  /** Settles when the saga has; a rejection by the kill is ignored. */
  readonly first: (coordinator: Coordinator) => Promise<unknown>
  readonly second: (coordinator: Coordinator) => Promise<void>
}

export interface CrashWorld {
  readonly sql: SqlClient
  /** Schema of the participant, from the first test on. */
  readonly stockSchema: string
  boot(client: SqlClient): Promise<Process>
  /** Runs a process that dies at its n-th step, then a second one. False: it lived to the end. */
  dieAt(n: number, when: 'before' | 'after', play: Play): Promise<boolean>
}

/** Set up before the tests of the file that calls it, and taken down after them. */
export function crashWorld(options: CrashWorldOptions): CrashWorld {
  const { name, sagas, participant, tables, leaseMs = 2_000, sql = embedded() } = options
  const [schema, stockSchema] = [`${name}_orders`, `${name}_stock`]
  const broker = memoryBroker()
  const transport = () => memoryTransport({ broker })
  const outbox = createOutbox({ sql, service: 'orders', schema, partitions: 1 })
  const stockOutbox = createOutbox({ sql, service: 'stock', schema: stockSchema, partitions: 1 })
  const binding = participant({ sql, outbox: stockOutbox, schema: stockSchema })
  const served = options.place && serveParticipant(binding)
  const stock = createBinder({
    service: 'stock',
    transport: transport(),
    sends: [sagaReplies('orders')],
    bindings: options.place === undefined && options.within === undefined ? [binding] : [],
  })
  const sender = createBinder({ service: 'relay', transport: transport(), bindings: [] })
  const relays = [
    createRelay({ outbox, publisher: sender, idlePollMs: 10 }),
    createRelay({ outbox: stockOutbox, publisher: stock, idlePollMs: 10 }),
  ]
  const coordinate = (client: SqlClient): Coordinator => {
    const short = { leaseMs, pollMs: 10, drainTimeoutMs: 0 }
    return createCoordinator({ service: 'orders', sql: client, outbox, schema, sagas, ...short })
  }
  beforeAll(async () => {
    await sql.query(tables)
    await outbox.migrate()
    await stockOutbox.migrate()
    await coordinate(sql).migrate()
    await migrateParticipant(sql, stockSchema)
    await Promise.all([stock.start(), sender.start()])
    for (const relay of relays) await relay.start()
    if (options.place !== undefined && served !== undefined) options.place.url = (await served).url
  }, 120_000)
  afterAll(async () => {
    await (await served)?.close()
    for (const relay of relays) await relay.close()
    await Promise.all([stock.close(), sender.close()])
    for (const each of [schema, stockSchema]) await sql.query(`DROP SCHEMA ${each} CASCADE`)
    if (options.sql === undefined) await closeEmbedded()
  })

  async function boot(client: SqlClient): Promise<Process> {
    options.within?.(client)
    const coordinator = coordinate(client)
    const { bindings, channels } = coordinator
    const own = { transport: transport(), drainTimeoutMs: 0 }
    const binder = createBinder({ service: 'orders', bindings, sends: channels, ...own })
    const end = async (): Promise<void> => void (await Promise.all([binder.close(), coordinator.close()]))
    try {
      await binder.start()
      await coordinator.run()
    } catch (error) {
      await end()
      throw error
    }
    return { coordinator, end }
  }

  async function dieAt(n: number, when: 'before' | 'after', { first, second }: Play): Promise<boolean> {
    const mortal = new MortalClient(sql, n, when)
    const victim = await boot(mortal).catch(rethrowUnlessDead)
    if (victim !== undefined) {
      const played = first(victim.coordinator).catch(rethrowUnlessDead)
      await Promise.race([played, until('it dies', () => mortal.dead)])
    }
    const died = mortal.dead
    await victim?.end()
    const heir = await boot(sql)
    await second(heir.coordinator)
    await heir.end()
    return died
  }

  return { sql, stockSchema, boot, dieAt }
}

export function rethrowUnlessDead(error: unknown): undefined {
  if (error instanceof Dead) return undefined
  throw error
}
