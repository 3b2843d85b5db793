/** Where servers in containers listen, and what Ctrl-C leaves of them. */
import { expect, test } from 'vitest'
import { docker, dockerLines, engineServers } from '../engine.ts'
import { checks } from './checks.ts'
import { runServers } from './run-servers.ts'

const IN_DOCKER = { CONCORDAT_SERVERS: 'docker' }

function containers(): Promise<readonly string[]> {
  return dockerLines('ps', '--all', '--format', '{{.Image}} {{.Ports}}')
}

test('a job in a container beside the engine reaches a server at the gateway of the bridge', async () => {
  const gateway = await docker('network', 'inspect', 'bridge', '--format', '{{(index .IPAM.Config 0).Gateway}}')
  const kind = engineServers.includes('kafka') ? 'kafka' : 'redis'
  const run = runServers([kind], { ...IN_DOCKER, TESTCONTAINERS_HOST_OVERRIDE: gateway })
  const [line = ''] = await run.lines(1)
  const address = line.slice(line.indexOf('=') + 1)
  expect(address).toContain(`${gateway}:`)
  await checks[kind].write(address, 'beside the engine')
  expect(await checks[kind].read(address)).toBe('beside the engine')
  expect(await containers()).toEqual([expect.stringContaining(`${gateway}:`)])
})

test('Ctrl-C while a container starts leaves none', async () => {
  const kind = engineServers.includes('rabbitmq') ? 'rabbitmq' : 'redis'
  const run = runServers([kind], IN_DOCKER)
  await expect.poll(containers, { timeout: 30_000, interval: 20 }).not.toEqual([])
  run.kill('SIGINT')
  expect(await run.exit).toEqual({ code: 0, stdout: '' })
  await expect.poll(containers, { timeout: 10_000 }).toEqual([])
})
