import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { startContainer } from './containers.ts'
import { obtainServer } from './obtain.ts'
import { runServers } from './run-servers.ts'

const NO_ENGINE = 'tcp://127.0.0.1:1'

function stubbed(variables: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value)
  onTestFinished(() => void vi.unstubAllEnvs())
}

/** A process of its own each time: testcontainers looks for its engine once. */
function runInDocker(host: string) {
  return runServers(['redis'], { CONCORDAT_SERVERS: 'docker', DOCKER_HOST: host, TESTCONTAINERS_RYUK_DISABLED: 'true' })
}

/** The part of an engine that testcontainers asks before it pulls an image; this engine has no image. */
async function engineWithoutImages(answersPull: boolean) {
  const pulled = Promise.withResolvers<void>()
  const server: Server = createServer((request, response) => {
    const path = request.url ?? ''
    const answer = (status: number, body: unknown): void => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    }
    if (path.includes('/images/create')) {
      pulled.resolve()
      if (answersPull) answer(500, { message: 'Get "https://registry.example/v2/": dial tcp: no such host' })
    } else if (path.includes('/images/')) answer(404, { message: 'No such image' })
    else answer(200, { ServerVersion: '20.10.24', OperatingSystem: 'Debian', Labels: [] })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return { host: `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`, pulled: pulled.promise }
}

test('startContainer gives nothing where no Docker engine answers', async () => {
  stubbed({ DOCKER_HOST: NO_ENGINE })
  expect(await startContainer('redis')).toBeUndefined()
})

describe('npm run servers in Docker', () => {
  test('names server, image, cause and remedy on one line when there is no image', async () => {
    const engine = await engineWithoutImages(true)
    const run = runInDocker(engine.host)
    expect(await run.exit).toEqual({ code: 2, stdout: '' })
    expect(run.stderr()).toMatch(
      /^redis: Docker cannot run redis:8-alpine: .*no such host.*; look at "docker pull redis:8-alpine", install it \(.*\), or set REDIS_URL$/m,
    )
  })

  test('ends at Ctrl-C while an image is pulled', async () => {
    const engine = await engineWithoutImages(false)
    const run = runInDocker(engine.host)
    await engine.pulled
    run.kill('SIGINT')
    expect(await run.exit).toEqual({ code: 0, stdout: '' })
  })
})

describe('CONCORDAT_SERVERS', () => {
  test('docker looks for an engine alone, and says so when none answers', async () => {
    stubbed({ DOCKER_HOST: NO_ENGINE, CONCORDAT_SERVERS: 'docker' })
    await expect(obtainServer('redis')).rejects.toThrow(
      /^redis: no Docker engine answers, and nothing else is looked for \(CONCORDAT_SERVERS=docker\); install it .*REDIS_URL$/,
    )
  })

  test('refuses another value', async () => {
    stubbed({ CONCORDAT_SERVERS: 'podman' })
    await expect(obtainServer('redis')).rejects.toThrow('CONCORDAT_SERVERS: expected docker, none or all, got "podman"')
  })
})
