/** Runs of the examples in the help of the command line. */
import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** The arguments of an example, as a shell divides it into words. */
export function wordsOf(example: string): readonly string[] {
  const command = example.replace('npx concordat', "printf '%s\\n'")
  return execFileSync('sh', ['-c', command], { encoding: 'utf8' }).trimEnd().split('\n')
}

/** A new folder, where `npm` installs nothing: the package is not in a registry yet. */
export async function emptyPlace(folder: string, env: Readonly<Record<string, string | undefined>>) {
  const cwd = await mkdtemp(join(folder, 'init-'))
  const bin = join(cwd, '.bin')
  await mkdir(bin)
  await writeFile(join(bin, 'npm'), '#!/bin/sh\n[ "$1" = install ]\n', { mode: 0o755 })
  return { cwd, env: { ...env, PATH: `${bin}:${env['PATH']}` } }
}
