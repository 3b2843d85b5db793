/** `npm run test:release`: files that take too long for each change, `*.release.test.ts`, on servers. */
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import { onServers, source } from '../../../vitest.config.ts'
import { filesOf } from './projects.ts'

export default defineConfig({
  ...source,
  root: fileURLToPath(new URL('../../..', import.meta.url)),
  test: { ...onServers, name: 'release', include: filesOf('release'), maxWorkers: 1 },
})
