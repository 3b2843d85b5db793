/** Calls of the Docker engine that `*.engine.test.ts` run on. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { isServerKind, type ServerKind, serverKinds } from './servers/kinds.ts'

const run = promisify(execFile)

/** The servers that the engine has images of. `scripts/engine/run.sh --servers` sets it. @default all of them */
export const engineServers: readonly ServerKind[] =
  process.env['ENGINE_SERVERS']?.split(',').filter(isServerKind) ?? serverKinds

/** Runs a Docker command and returns its standard output. Rejects with its output when it fails. */
export async function docker(...args: readonly string[]): Promise<string> {
  const { stdout } = await run('docker', [...args], {
    maxBuffer: 2 ** 24,
    env: { ...process.env, DOCKER_BUILDKIT: '0' },
  })
  return stdout.trimEnd()
}

export async function dockerLines(...args: readonly string[]): Promise<readonly string[]> {
  return (await docker(...args)).split('\n').filter((line) => line !== '')
}
