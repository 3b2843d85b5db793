import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { cpuUsOfEndedChildren } from '../cpu.ts'
import { writeOrders } from './orders.ts'

const MAIN = 'examples/order-payment/main.ts'

/** Result of one run of the example in processes of its own. */
export interface ExampleRun {
  readonly orders: number
  readonly ms: number
  /** CPU time of all processes of the example. */
  readonly cpuUs: number
  /** CPU time of each server, by its name. */
  readonly serverCpuUs: Readonly<Record<string, number>>
}

export interface Setting {
  /** `--transport` and the addresses. */
  readonly flags: readonly string[]
  /** CPU time of each server so far. */
  readonly servers: Readonly<Record<string, () => number>>
}

/** @throws when an order did not end as it should, with the end of what the example said */
export async function runExample({ flags, servers }: Setting, count: number): Promise<ExampleRun> {
  await using files = await writeOrders(count)
  const report = join(files.folder, 'report.json')
  const before = readAll(servers)
  const cpuBefore = cpuUsOfEndedChildren()
  await runToEnd(['--conditions=concordat-source', MAIN, ...files.flags, '--report', report, ...flags])
  const cpuUs = cpuUsOfEndedChildren() - cpuBefore
  const after = readAll(servers)
  const { elapsedMs, orders } = JSON.parse(await readFile(report, 'utf8')) as {
    readonly elapsedMs: number
    readonly orders: { readonly read: number }
  }
  if (orders.read !== count) throw new Error(`the example read ${orders.read} orders of ${count}`)
  const serverCpuUs = Object.fromEntries(
    Object.keys(servers).map((name) => [name, (after[name] ?? Number.NaN) - (before[name] ?? Number.NaN)]),
  )
  return { orders: count, ms: elapsedMs, cpuUs, serverCpuUs }
}

/** Cost of the orders in `long` that `short` did not have, so that starting and ending are not counted. */
export function difference(long: ExampleRun, short: ExampleRun): ExampleRun {
  return {
    orders: long.orders - short.orders,
    ms: long.ms - short.ms,
    cpuUs: long.cpuUs - short.cpuUs,
    serverCpuUs: Object.fromEntries(
      Object.entries(long.serverCpuUs).map(([name, us]) => [name, us - (short.serverCpuUs[name] ?? Number.NaN)]),
    ),
  }
}

function readAll(servers: Setting['servers']): Readonly<Record<string, number>> {
  return Object.fromEntries(Object.entries(servers).map(([name, cpuUs]) => [name, cpuUs()]))
}

function runToEnd(args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    let complaints = ''
    child.stderr.on('data', (chunk: Buffer) => (complaints = (complaints + chunk.toString()).slice(-2_000)))
    child.on('error', reject)
    child.on('close', (code) => {
      if (code === 0) resolve()
      else reject(new Error(`the example ended with ${code}: ${complaints.trim().slice(-500)}`))
    })
  })
}
