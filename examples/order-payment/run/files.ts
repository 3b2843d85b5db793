/** Finds and checks the three input files before anything starts, so that a wrong path starts nothing. */
import { constants, createReadStream, rmSync } from 'node:fs'
import { access, mkdtemp, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import type { Opening } from '../intake/admission.ts'
import { OpeningFileError, readOpeningFile } from '../opening-file.ts'
import { type Files, UsageError } from '../options.ts'

const BUNDLED = join(import.meta.dirname, '..', 'data')

export interface InputFiles {
  /** Absolute path, or `-` for standard input. */
  readonly orders: string
  /** False for standard input and pipes, which can be read once only. */
  readonly isRereadable: boolean
  readonly accounts: string
  readonly stock: string
  readonly opening: Opening
}

/** Finds the input files. @throws UsageError naming the file and the flag */
export async function findInputFiles(files: Files): Promise<InputFiles> {
  const orders = files.orders === '-' ? '-' : resolve(files.orders ?? join(BUNDLED, 'orders.jsonl'))
  if (orders !== '-') await requireFile('orders', orders)
  const isRereadable = orders !== '-' && (await stat(orders)).isFile()
  const accounts = await pick('accounts', files.accounts, orders)
  const stock = await pick('stock', files.stock, orders)
  try {
    const opening = {
      accounts: await readOpeningFile(accounts, 'accounts'),
      stock: await readOpeningFile(stock, 'stock'),
    }
    return { orders, isRereadable, accounts, stock, opening }
  } catch (error) {
    if (error instanceof OpeningFileError) throw new UsageError(error.message)
    throw error
  }
}

export function openOrders({ orders }: InputFiles): AsyncIterable<Uint8Array> {
  return orders === '-' ? process.stdin : createReadStream(orders)
}

/** Copies the orders to a temporary file, so that they can be counted first. */
export async function spoolOrders(files: InputFiles): Promise<InputFiles> {
  const orders = join(await mkdtemp(join(tmpdir(), 'order-payment-')), 'orders.jsonl')
  await writeFile(orders, openOrders(files))
  process.once('exit', () => rmSync(dirname(orders), { recursive: true, force: true }))
  return { ...files, orders, isRereadable: true }
}

/** Picks the named file, else the file next to the orders, else the bundled file. */
async function pick(what: 'accounts' | 'stock', named: string | undefined, orders: string): Promise<string> {
  if (named !== undefined) {
    await requireFile(what, resolve(named))
    return resolve(named)
  }
  const beside = join(dirname(orders), `${what}.json`)
  return orders !== '-' && (await isReadable(beside)) ? beside : join(BUNDLED, `${what}.json`)
}

async function requireFile(flag: string, path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined)
  if (found === undefined) throw new UsageError(`${path} does not exist: pass an existing file with --${flag}`)
  if (found.isDirectory()) throw new UsageError(`${path} is a folder: pass a file with --${flag}`)
  if (!(await isReadable(path)))
    throw new UsageError(`${path} cannot be read: check its permissions, or pass another --${flag}`)
}

function isReadable(path: string): Promise<boolean> {
  return access(path, constants.R_OK).then(
    () => true,
    () => false,
  )
}

/** Checks before the run that the report can be written after it. @throws UsageError */
export async function requireReportPlace(report: string | undefined): Promise<void> {
  if (report === undefined) return
  const path = resolve(report)
  const found = await stat(path).catch(() => undefined)
  if (found?.isDirectory() === true) throw new UsageError(`--report: ${path} is a folder, pass a file`)
  const writable = await access(found === undefined ? dirname(path) : path, constants.W_OK).then(
    () => true,
    () => false,
  )
  if (!writable) throw new UsageError(`--report: ${path} cannot be written: pass a file in a folder that exists`)
}
