import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Measured } from '../compare.ts'
import type { SuiteOptions } from '../main.ts'
import { wantedParts } from '../parts.ts'
import { provideServer } from '../servers.ts'

const MAIN = 'examples/order-payment/main.ts'

/** The bundled 500 orders through the three services: embedded, and as two processes per service on real servers. */
export async function exampleSuite(options: SuiteOptions): Promise<void> {
  const wanted = wantedParts(options.only, ['embedded', 'kafka', 'rabbitmq'])
  if (wanted('embedded')) {
    await options.measure({ what: 'example, embedded, orders/s', ours: () => runExample([]) })
    await options.measure({ what: 'example, embedded, orders/s of wall time', ours: () => runExample([], 'wall') })
  }
  for (const broker of ['kafka', 'rabbitmq'] as const) if (wanted(broker)) await onServers(broker, options)
}

async function onServers(broker: 'kafka' | 'rabbitmq', options: SuiteOptions): Promise<void> {
  await using stack = new AsyncDisposableStack()
  const flags = ['--transport', broker, '--processes', '2']
  for (const kind of [broker, 'postgres', 'redis'] as const) {
    const server = await provideServer(kind, stack)
    if ('missing' in server) return options.skip(server.missing)
    flags.push(`--${kind}`, server.address)
  }
  await options.measure({
    what: `example, ${broker}, 2 processes per service, orders/s`,
    ours: () => runExample(flags),
  })
}

/** One run in a process of its own. `wall` counts from its start to its end, `work` what its report says. */
async function runExample(flags: readonly string[], clock: 'work' | 'wall' = 'work'): Promise<Measured> {
  const folder = await mkdtemp(join(tmpdir(), 'concordat-bench-'))
  try {
    const file = join(folder, 'report.json')
    const startedAt = performance.now()
    await runToEnd(['--conditions=concordat-source', MAIN, '--report', file, ...flags])
    const wallMs = performance.now() - startedAt
    const report = JSON.parse(await readFile(file, 'utf8')) as { orders: { read: number }; elapsedMs: number }
    return { units: report.orders.read, ms: clock === 'wall' ? wallMs : report.elapsedMs }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function runToEnd(args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    let complaints = ''
    child.stderr.on('data', (chunk: Buffer) => (complaints += chunk.toString()))
    child.on('error', reject)
    child.on('close', (code) => {
      if (code === 0) resolve()
      else reject(new Error(`the example ended with ${code}: ${complaints.trim().slice(-500)}`))
    })
  })
}
