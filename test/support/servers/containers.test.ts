import { expect, test, vi } from 'vitest'
import { startContainer } from './containers.ts'

test('startContainer gives nothing where no Docker engine answers', async () => {
  vi.stubEnv('DOCKER_HOST', 'tcp://127.0.0.1:1')
  expect(await startContainer('redis').finally(() => vi.unstubAllEnvs())).toBeUndefined()
})
