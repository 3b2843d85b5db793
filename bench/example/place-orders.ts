/**
 * The orders of the example without its services and messages: the base of the comparison with sides that place them
 * otherwise.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { cpuUsOfTree } from '../cpu.ts'
import type { SuiteOptions } from '../main.ts'
import type { PostgresBed } from '../postgres-bed.ts'
import { Worker } from '../processes.ts'
import { writeOrders } from './orders.ts'
import type { ExampleRun } from './run.ts'
import type { OrdersReport } from './serve-orders.ts'

const CONNECTIONS = '20'
/** Orders in flight: the same number as in the embedded example, chosen without tuning. */
const AT_ONCE = 64
/** Orders placed first, until the code is compiled. */
const WARM_UP = 500
const LOOK_EVERY_MS = 50

const TABLES = `
  CREATE TABLE purchase (order_id text PRIMARY KEY, digest text NOT NULL, customer text NOT NULL, amount_cents bigint NOT NULL, status text NOT NULL);
  CREATE TABLE submission (line bigint NOT NULL, digest text NOT NULL, order_id text NOT NULL, verdict text NOT NULL, PRIMARY KEY (line, digest));
  CREATE TABLE shelf (sku text PRIMARY KEY, opening bigint NOT NULL, available bigint NOT NULL CHECK (available >= 0));
  CREATE TABLE reservation (saga_key text NOT NULL, order_id text NOT NULL, sku text NOT NULL, quantity bigint NOT NULL CHECK (quantity > 0),
    released boolean NOT NULL DEFAULT false, PRIMARY KEY (saga_key, sku));
  CREATE TABLE account (customer text PRIMARY KEY, opening bigint NOT NULL, balance bigint NOT NULL CHECK (balance >= 0));
  CREATE TABLE entry (kind text NOT NULL, saga_key text NOT NULL, order_id text NOT NULL, customer text NOT NULL, cents bigint NOT NULL,
    PRIMARY KEY (saga_key, kind));
  CREATE TABLE receipt (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, order_id text NOT NULL, customer text NOT NULL, cents bigint NOT NULL)`

const STOCKED = `
  INSERT INTO account SELECT 'c-' || i, 1000000000, 1000000000 FROM generate_series(0, 499) i;
  INSERT INTO shelf SELECT 'sku-' || i, 1000000000, 1000000000 FROM generate_series(0, 199) i`

/** The program that places the orders. */
export interface Placing {
  /** A module that calls `serveOrders`. */
  readonly worker: URL
  /** Before the address of the database, the file of the orders and the number of connections. */
  readonly args?: readonly string[]
  /** Processes that it asks. They are ready before it starts. */
  readonly asked?: readonly Asked[]
  /** Orders under way. @default 64, as many as the embedded example has */
  readonly atOnce?: number
  /** Makes the error for a process that does not become ready. */
  readonly notReady: (cause: unknown) => Error
}

export interface Asked {
  /** A module that reports `ready`. */
  readonly worker: URL
  /** Before the address of the database. */
  readonly args: readonly string[]
}

export async function runOrders(
  bed: PostgresBed,
  database: string,
  { orders }: SuiteOptions,
  { worker: file, args = [], asked = [], atOnce = AT_ONCE, notReady }: Placing,
): Promise<ExampleRun> {
  const url = await bed.database(database)
  await using files = await writeOrders(orders + WARM_UP)
  await using stack = new AsyncDisposableStack()
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  stack.defer(() => client.end())
  await client.query(TABLES)
  await client.query(STOCKED)
  const start = async (module: URL, words: readonly string[]): Promise<Worker<OrdersReport>> => {
    const worker = stack.use(new Worker<OrdersReport>(module, words))
    await worker.report('ready').catch((cause: unknown) => {
      throw notReady(cause)
    })
    return worker
  }
  const others: Worker<OrdersReport>[] = []
  for (const other of asked) others.push(await start(other.worker, [...other.args, url]))
  const worker = await start(file, [...args, url, join(files.folder, 'orders.jsonl'), CONNECTIONS])
  const place = async (from: number, to: number): Promise<{ readonly ms: number; readonly cpuUs: number }> => {
    worker.tell({ from, to, atOnce })
    const { ms, cpuUs } = await worker.report('ran')
    return { ms: (ms ?? Number.NaN) + (await receiptsWritten(client)), cpuUs: cpuUs ?? Number.NaN }
  }
  const othersCpuUs = (): number => others.reduce((sum, { pid }) => sum + cpuUsOfTree(pid), 0)
  await place(0, WARM_UP)
  const [before, othersBefore] = [bed.cpuUs(), othersCpuUs()]
  const { ms, cpuUs } = await place(WARM_UP, WARM_UP + orders)
  const postgres = bed.cpuUs() - before
  const ran = { orders, ms, cpuUs: cpuUs + othersCpuUs() - othersBefore, serverCpuUs: { postgres } }
  await checkBooks(client, orders + WARM_UP)
  return ran
}

/**
 * Waits for the receipts, which may be written after the order has ended, as in the example. @returns the time in ms
 */
async function receiptsWritten(client: pg.Client): Promise<number> {
  const beganAt = performance.now()
  for (;;) {
    const { rows } = await client.query<{ readonly missing: boolean }>(
      `SELECT (SELECT count(*) FROM receipt) < (SELECT count(*) FROM purchase WHERE status = 'confirmed') AS missing`,
    )
    if (rows[0]?.missing === false) return performance.now() - beganAt
    await sleep(LOOK_EVERY_MS)
  }
}

/** A rate of something else than these orders would compare nothing. */
async function checkBooks(client: pg.Client, orders: number): Promise<void> {
  const { rows } = await client.query<Readonly<Record<'ended' | 'money' | 'units', boolean>>>(
    `SELECT (SELECT count(*) FROM purchase WHERE status IN ('confirmed', 'declined')) = $1 AS ended,
       (SELECT sum(opening - balance) FROM account) = (SELECT sum(cents) FROM entry) AND
       (SELECT sum(cents) FROM entry) = (SELECT sum(cents) FROM receipt) AS money,
       (SELECT sum(opening - available) FROM shelf) = (SELECT sum(quantity) FROM reservation WHERE NOT released) AS units`,
    [orders],
  )
  const [books] = rows
  if (books?.ended !== true || !books.money || !books.units)
    throw new Error(`the books do not balance: ${JSON.stringify(books)}`)
}
