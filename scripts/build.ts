/**
 * `npm run build [-- FOLDER]`: what a user installs, into `dist` or the folder given. One JavaScript file and one
 * declaration file per source file, no bundler, so that stack traces and file names stay as they are in the repository.
 * Only the page of the console, which runs in a browser, is a bundle.
 */
import { spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildPage } from './page.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const out = resolve(process.argv[2] ?? `${root}dist`)

rmSync(out, { recursive: true, force: true })
const tsc = spawnSync(
  process.execPath,
  ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json', '--outDir', out],
  { cwd: root, stdio: 'inherit' },
)
process.exitCode = tsc.status ?? 1
process.chdir(root)
if (process.exitCode === 0) await buildPage(join(out, 'operate/console/page'))
