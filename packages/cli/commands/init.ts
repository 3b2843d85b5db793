/** `init`: creates a starter project. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { basename, join, resolve } from 'node:path'
import { requireEmpty, starterFiles, writeStarter } from '../init/starter.ts'
import { type Command, UsageError } from './command.ts'
import { flag, only } from './values.ts'

const init: Command = {
  name: 'init',
  summary: 'writes a project of two services with tests, which runs without a server',
  takes: 'FOLDER',
  options: {
    'dry-run': { type: 'boolean', about: 'shows what it would write, and writes nothing' },
    'no-install': { type: 'boolean', about: 'leaves `npm install` to you' },
  },
  examples: ['npx concordat init shop --dry-run', 'npx concordat init shop', 'npx concordat init shop --no-install'],
  async run(invocation) {
    const folder = only(invocation, 'FOLDER: a new or empty one')
    const name = basename(resolve(folder))
    if (!/^[a-z0-9][a-z0-9._-]{0,100}$/.test(name)) {
      throw new UsageError(
        `FOLDER: its name is the package's: a-z 0-9 . _ -, beginning with a letter or digit, got "${name}"`,
      )
    }
    await requireEmpty(folder)
    const dryRun = flag(invocation.values, 'dry-run')
    const files = await starterFiles(folder, name)
    if (!dryRun) await writeStarter(folder, files)
    const listed = files.map(({ path }) => `  ${join(folder, path)}\n`).join('')
    const installed = !dryRun && !flag(invocation.values, 'no-install')
    if (installed) await install(folder)
    const next = dryRun ? '' : `Next: cd ${folder} && ${installed ? '' : 'npm install && '}npm start && npm test\n`
    return {
      text: `${dryRun ? 'would write' : 'wrote'}\n${listed}${next}`,
      json: { folder, dryRun, installed, files: files.map(({ path }) => path) },
    }
  },
}

/** Runs npm, whose output goes to stderr. @throws Error with a remedy; the project is written all the same */
async function install(folder: string): Promise<void> {
  const options = {
    cwd: folder,
    stdio: ['ignore', 2, 2] as Array<'ignore' | number>,
    shell: process.platform === 'win32',
  }
  const npm = spawn('npm', ['install', '--no-audit', '--no-fund'], options)
  const [code] = (await once(npm, 'close').catch((error: unknown) => [String(error)])) as [number | string | null]
  if (code !== 0) {
    throw new Error(
      `${folder} is written, but npm install failed (${code}): run it there again, or init with --no-install`,
    )
  }
}

export const INIT_COMMANDS: readonly Command[] = [init]
