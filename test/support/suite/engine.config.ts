/** `npm run test:engine`: files that need a Docker engine with the images of compose.yaml, `*.engine.test.ts`. */
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import { source } from '../../../vitest.config.ts'
import { filesOf } from './projects.ts'

export default defineConfig({
  ...source,
  root: fileURLToPath(new URL('../../..', import.meta.url)),
  test: {
    name: 'engine',
    include: filesOf('engine'),
    execArgv: ['--disable-warning=TimeoutNegativeWarning'],
    testTimeout: 180_000,
    hookTimeout: 180_000,
    // These tests start containers, one after the other.
    maxWorkers: 1,
  },
})
