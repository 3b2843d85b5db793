/** The services of the example in containers of a real engine, stopped and killed while they work. */
import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { docker, dockerLines } from '../../../support/engine.ts'

const IMAGE = 'concordat/order-payment'
const run = promisify(execFile)

const compose = (...args: readonly string[]): Promise<string> =>
  docker('compose', '--profile', 'example', '--profile', 'intake', ...args)

/** Builds without a network: the modules in the context are those that `npm ci` has installed here. */
async function buildImage(): Promise<void> {
  const context = mkdtempSync(join(tmpdir(), 'concordat-test-'))
  try {
    // Files that .dockerignore lets through.
    const paths = readFileSync('.dockerignore', 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('!'))
    for (const path of paths) cpSync(path.slice(1), join(context, path.slice(1)), { recursive: true })
    const modules = join(context, 'node_modules')
    const drivers = ['amqplib', 'cli-progress', 'ioredis', 'kafkajs', 'pg', 'pino', 'zod']
    await run(process.execPath, ['scripts/runtime-modules.ts', modules, ...drivers])
    const file = join(context, 'examples/order-payment/Dockerfile')
    await docker(
      'build',
      '--quiet',
      '--tag',
      IMAGE,
      '--file',
      file,
      '--build-arg',
      'INSTALL=test -d node_modules',
      context,
    )
  } finally {
    rmSync(context, { recursive: true })
  }
}

async function inspect(container: string, format: string): Promise<string> {
  return docker('inspect', container, '--format', format)
}

/** Exit code of a container that has ended. */
async function exitCode(container: string): Promise<number> {
  await expect.poll(() => inspect(container, '{{.State.Running}}'), { timeout: 60_000 }).toBe('false')
  return Number(await inspect(container, '{{.State.ExitCode}}'))
}

async function charges(): Promise<number> {
  const query = 'SELECT count(*) FROM order_payment_compose_payments.entry'
  return Number(await compose('exec', '-T', 'postgres', 'psql', '-U', 'postgres', '-h', '127.0.0.1', '-Atc', query))
}

beforeAll(buildImage)
afterAll(async () => {
  await compose('down', '--volumes', '--timeout', '10')
})

test('a service that process 1 of a container runs ends at SIGTERM, though Linux drops the signal that it sends to itself', async () => {
  const code = `import { closeOnSignals } from 'concordat/service'
    setInterval(() => {}, 1_000)
    closeOnSignals({ after: [() => console.log('closed')] })
    console.log('listens')`
  const container = await docker('run', '--detach', '--no-healthcheck', IMAGE, '--input-type=module', '--eval', code)
  try {
    await expect.poll(() => docker('logs', container), { timeout: 30_000 }).toBe('listens')
    await docker('stop', '--time', '20', container)
    expect(await docker('logs', container)).toBe('listens\nclosed')
    expect(await exitCode(container)).toBe(143)
  } finally {
    await docker('rm', '--force', container)
  }
})

test('nothing is lost when one of two payments is stopped and the stock is killed while orders are under way', async () => {
  await compose(
    'up',
    '--detach',
    '--wait',
    '--wait-timeout',
    '120',
    '--scale',
    'payments=2',
    'postgres',
    'redis',
    'rabbitmq',
    'orders',
    'payments',
    'stock',
    'receipts',
  )
  const [stopped = ''] = await dockerLines('ps', '--quiet', '--filter', 'label=com.docker.compose.service=payments')
  const [killed = ''] = await dockerLines('ps', '--quiet', '--filter', 'label=com.docker.compose.service=stock')
  expect(await docker('exec', stopped, 'sh', '-c', 'id -u; tr "\\0" " " </proc/1/cmdline')).toMatch(
    /^1000\nnode .*examples\/order-payment\/container\/main\.ts/,
  )
  const intake = compose('run', '--rm', '-T', '--no-deps', 'intake')
  await expect.poll(charges, { timeout: 60_000 }).toBeGreaterThan(20)
  await docker('kill', killed)
  await docker('stop', stopped)
  expect(await exitCode(killed)).toBe(137)
  expect(await exitCode(stopped)).toBe(0)
  expect(await docker('logs', stopped)).toContain('"msg":"closed"')
  await docker('start', killed)
  expect(await intake).toContain('balanced')
}, 240_000)
