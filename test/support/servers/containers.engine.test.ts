/** The servers of the tests in containers of a real engine. */
import { expect, test } from 'vitest'
import { docker, dockerLines, engineServers } from '../engine.ts'
import { checks } from './checks.ts'
import { images } from './container-images.ts'
import { runServers } from './run-servers.ts'

const IN_DOCKER = { CONCORDAT_SERVERS: 'docker' }

function containers(): Promise<readonly string[]> {
  return dockerLines('ps', '--all', '--format', '{{.Image}} {{.Ports}}')
}

/** From the lines that `npm run servers` prints. */
function addressesIn(lines: readonly string[]): readonly string[] {
  return lines.map((line) => line.slice(line.indexOf('=') + 1))
}

test('every server answers, listens on this machine alone, and is gone at SIGTERM', async () => {
  const run = runServers(engineServers, IN_DOCKER)
  const addresses = addressesIn(await run.lines(engineServers.length))
  for (const [index, kind] of engineServers.entries()) {
    const address = addresses[index] ?? ''
    await checks[kind].write(address, 'in a container')
    expect(await checks[kind].read(address)).toBe('in a container')
  }
  const listening = await containers()
  expect(listening).toHaveLength(engineServers.length)
  for (const line of listening) expect(line).toMatch(/ (?:\d+\/tcp, )*127\.0\.0\.1:\d+->\d+\/tcp$/)
  run.kill('SIGTERM')
  expect((await run.exit).code).toBe(0)
  expect(await containers()).toEqual([])
})

test('a container that ends names the server, its image and the end of its log', async () => {
  const name = images.postgres.name
  await docker('tag', name, 'concordat-test/kept')
  await docker('tag', engineServers.includes('redis') ? images.redis.name : images.rabbitmq.name, name)
  try {
    const run = runServers(['postgres'], IN_DOCKER)
    expect(await run.exit).toEqual({ code: 2, stdout: '' })
    expect(run.stderr()).toMatch(new RegExp(`^postgres: Docker cannot run ${name}: .*POSTGRES_URL$`, 'm'))
    expect(await containers()).toEqual([])
  } finally {
    await docker('tag', 'concordat-test/kept', name)
    await docker('rmi', 'concordat-test/kept')
  }
})
