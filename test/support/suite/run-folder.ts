/** Global set-up: a folder for values that are made once in a run, see `once-per-run.ts`. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'

declare module 'vitest' {
  interface ProvidedContext {
    runFolder: string
  }
}

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), 'concordat-run-'))
  project.provide('runFolder', folder)
  return () => rm(folder, { recursive: true, force: true, maxRetries: 3 })
}
