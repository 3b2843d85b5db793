/** What `scripts/engine/short-check.sh` runs, on servers in containers. */
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import { onServers, source } from '../../../vitest.config.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))

export default defineConfig({
  ...source,
  root,
  test: {
    projects: [
      {
        ...source,
        root,
        test: { name: 'engine', include: ['test/support/servers/containers.engine.test.ts'], testTimeout: 100_000 },
      },
      {
        ...source,
        root,
        test: {
          ...onServers,
          name: 'containers',
          include: [
            'test/core/pg.int.test.ts',
            'test/locks/redis/redis.int.test.ts',
            'test/binder/rabbitmq/conformance.int.test.ts',
          ],
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
