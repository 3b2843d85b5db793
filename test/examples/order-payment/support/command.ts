/** Runs the example as a user does: a process of its own, judged by its exit code, its output and its report. */
import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Report } from '../../../../examples/order-payment/run/report.ts'
import type { OrderFiles } from './orders.ts'

const ROOT = join(import.meta.dirname, '..', '..', '..', '..')
const MAIN = join(ROOT, 'examples', 'order-payment', 'main.ts')
const NODE_FLAGS = ['--disable-warning=TimeoutNegativeWarning', '--conditions=concordat-source']

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface Running {
  readonly child: ChildProcess
  /** Standard error so far. */
  stderr(): string
  readonly ended: Promise<Ended>
}

/** @param input standard input; `open` leaves it open, so that more orders may come */
export function start(
  args: readonly string[],
  input: string | Uint8Array | { readonly open: true } = '',
  env: NodeJS.ProcessEnv = process.env,
): Running {
  return watch(spawn(process.execPath, [...NODE_FLAGS, MAIN, ...args], { cwd: ROOT, stdio: 'pipe', env }), input)
}

/** `npm start -- ...`: npm, a shell, and the program. */
export function startWithNpm(args: readonly string[]): Running {
  return watch(spawn('npm', ['start', '--silent', '--', ...args], { cwd: ROOT, stdio: 'pipe' }), '')
}

function watch(child: ChildProcessWithoutNullStreams, input: string | Uint8Array | { readonly open: true }): Running {
  const text = { stdout: '', stderr: '' }
  child.stdout.on('data', (chunk) => (text.stdout += String(chunk)))
  child.stderr.on('data', (chunk) => (text.stderr += String(chunk)))
  child.stdin.on('error', () => {})
  if (typeof input === 'string' || input instanceof Uint8Array) child.stdin.end(input)
  const ended = new Promise<Ended>((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal, ...text }))
  })
  return { child, stderr: () => text.stderr, ended }
}

/** A folder that is deleted at the end of the test. */
export interface Folder extends AsyncDisposable {
  readonly path: string
  file(name: string, content: string | Uint8Array): Promise<string>
  /** Writes the three files. @returns the flags that name them */
  orders(files: OrderFiles): Promise<readonly string[]>
  /** Runs with `--report` and reads it. */
  report(args: readonly string[], input?: string | Uint8Array): Promise<Ended & { readonly report: Report }>
}

export async function folder(): Promise<Folder> {
  const path = await mkdtemp(join(tmpdir(), 'order-payment-test-'))
  const file: Folder['file'] = async (name, content) => {
    await writeFile(join(path, name), content)
    return join(path, name)
  }
  return {
    path,
    file,
    orders: async ({ orders, accounts, stock }) => {
      const names = [
        await file('orders.jsonl', orders),
        await file('a.json', JSON.stringify(accounts)),
        await file('s.json', JSON.stringify(stock)),
      ]
      return ['--orders', names[0] ?? '', '--accounts', names[1] ?? '', '--stock', names[2] ?? '']
    },
    report: async (args, input) => {
      const out = join(path, 'report.json')
      const ended = await start([...args, '--report', out], input).ended
      const text = await readFile(out, 'utf8').catch(() => undefined)
      if (text === undefined) throw new Error(`no report, exit code ${ended.code}:\n${ended.stderr}`)
      return { ...ended, report: JSON.parse(text) as Report }
    },
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true, maxRetries: 3 }),
  }
}
