import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { rolldown } from 'rolldown'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
/** Folder below `node_modules`, so that the package finds its dependencies as in a user's project. */
const FOLDER = join(ROOT, 'node_modules/.cache/concordat-bench/built')

/**
 * Builds the package as users install it, and a program beside it, both as JavaScript: users do not run what Node needs
 * to read TypeScript.
 * @param program a module that imports the package by its name
 * @returns the path of the built program
 */
export async function built(program: URL): Promise<URL> {
  const own = join(FOLDER, 'node_modules/concordat')
  mkdirSync(own, { recursive: true })
  cpSync(join(ROOT, 'package.json'), join(own, 'package.json'))
  writeFileSync(join(FOLDER, 'package.json'), '{ "private": true, "type": "module" }\n')
  const args = [join(ROOT, 'scripts/build.ts'), own]
  const { status, stderr } = spawnSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8' })
  if (status !== 0) throw new Error(`building the package failed: ${stderr}`)
  const file = join(FOLDER, 'program.js')
  const bundle = await rolldown({
    input: fileURLToPath(program),
    external: (id) => !/^[./]/.test(id),
    platform: 'node',
  })
  await bundle.write({ file })
  await bundle.close()
  return pathToFileURL(file)
}
