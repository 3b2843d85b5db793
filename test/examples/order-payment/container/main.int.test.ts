/** The program of a container, as a process here: what Docker and Kubernetes see of it. */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { expect, onTestFinished, test } from 'vitest'
import { namesOf, sweep } from '../../../../examples/order-payment/run/sweep.ts'
import { describeWith, serverUrl } from '../../../support/servers/index.ts'
import { freePort } from '../../../support/servers/ports.ts'

const MAIN = 'examples/order-payment/container/main.ts'

async function startContainer(environment: Readonly<Record<string, string>>) {
  const port = await freePort()
  const child = spawn(process.execPath, ['--conditions=concordat-source', MAIN], {
    env: { ...process.env, PORT: String(port), TRANSPORT: 'postgres', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text))
  const exit = once(child, 'close').then(() => ({ code: child.exitCode, signal: child.signalCode }))
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await exit
  })
  return {
    exit,
    output: () => output,
    terminate: () => child.kill('SIGTERM'),
    ask: (path: string) =>
      fetch(`http://127.0.0.1:${port}${path}`).then(
        ({ status }) => status,
        () => undefined,
      ),
  }
}

describeWith(['postgres'], 'a service in a container', () => {
  const postgres = serverUrl('postgres') ?? ''

  test('is ready once it takes part, and ends with 0 at SIGTERM', async () => {
    const runId = randomBytes(4).toString('hex')
    onTestFinished(() => sweep({ transport: 'postgres', broker: postgres, postgres, redis: undefined }, namesOf(runId)))
    const container = await startContainer({
      SERVICE: 'payments',
      POSTGRES_URL: postgres,
      RUN_ID: runId,
      INSTANCE: 'pod-1',
    })
    await expect.poll(() => container.ask('/ready'), { timeout: 30_000 }).toBe(200)
    expect(await container.ask('/live')).toBe(200)
    container.terminate()
    expect(await container.exit).toEqual({ code: 0, signal: null })
    expect(container.output()).toContain('"instance":"pod-1"')
    expect(container.output()).toContain('"msg":"closed"')
  })

  test('ends with 1 when its database does not answer, so that it is started again', async () => {
    const container = await startContainer({
      SERVICE: 'stock',
      POSTGRES_URL: 'postgres://shop:secret@127.0.0.1:1/shop',
    })
    expect((await container.exit).code).toBe(1)
    expect(container.output()).toContain('the service cannot start')
    expect(container.output()).not.toContain('secret')
  })

  test('ends with 2 and one line when its environment is wrong', async () => {
    const container = await startContainer({ SERVICE: 'stock', POSTGRES_URL: '' })
    expect((await container.exit).code).toBe(2)
    expect(container.output()).toBe(
      'order-payment: POSTGRES_URL is not set: give the container its value, as compose.yaml does\n',
    )
  })
})
