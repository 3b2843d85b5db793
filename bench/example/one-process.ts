/** The orders of the example in one process, without services or messages between its steps: what a peer is compared with there. */
import { join } from 'node:path'
import pg from 'pg'
import type { SuiteOptions } from '../main.ts'
import type { PostgresBed } from '../postgres-bed.ts'
import { Worker } from '../processes.ts'
import { writeOrders } from './orders.ts'
import type { ExampleRun } from './run.ts'
import type { OrdersReport } from './serve-orders.ts'

const CONNECTIONS = '20'
/** As many as a service of the example has open at most: chosen, not searched for. */
const AT_ONCE = 64
/** Until its code is compiled. */
const WARM_UP = 500

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

/** Who places the orders. */
export interface OneProcess {
  /** A module that calls `serveOrders`. */
  readonly worker: URL
  /** Before the address of the database, the file of the orders and the number of connections. */
  readonly args?: readonly string[]
  /** What it means that it does not get ready. */
  readonly notReady: (cause: unknown) => Error
}

export async function runInOneProcess(
  bed: PostgresBed,
  database: string,
  { orders }: SuiteOptions,
  { worker: file, args = [], notReady }: OneProcess,
): Promise<ExampleRun> {
  const url = await bed.database(database)
  await using files = await writeOrders(orders + WARM_UP)
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(TABLES)
    await client.query(
      `INSERT INTO account SELECT 'c-' || i, 1000000000, 1000000000 FROM generate_series(0, 499) i;
       INSERT INTO shelf SELECT 'sku-' || i, 1000000000, 1000000000 FROM generate_series(0, 199) i`,
    )
    await using worker = new Worker<OrdersReport>(file, [...args, url, join(files.folder, 'orders.jsonl'), CONNECTIONS])
    await worker.report('ready').catch((cause: unknown) => {
      throw notReady(cause)
    })
    worker.tell({ from: 0, to: WARM_UP, atOnce: AT_ONCE })
    await worker.report('ran')
    const before = bed.cpuUs()
    worker.tell({ from: WARM_UP, to: WARM_UP + orders, atOnce: AT_ONCE })
    const { ms, cpuUs } = await worker.report('ran')
    const postgres = bed.cpuUs() - before
    await checkBooks(client, orders + WARM_UP)
    return { orders, ms: ms ?? Number.NaN, cpuUs: cpuUs ?? Number.NaN, serverCpuUs: { postgres } }
  } finally {
    await client.end()
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
