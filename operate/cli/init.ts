/** `init`: a project to begin with. */
import { basename, join, resolve } from 'node:path'
import { requireEmpty, starterFiles, writeStarter } from '../init/starter.ts'
import { type Command, UsageError } from './command.ts'
import { flag, only } from './values.ts'

const init: Command = {
  name: 'init',
  summary: 'writes a project of two services with tests, which runs without a server',
  takes: 'FOLDER',
  options: { 'dry-run': { type: 'boolean', about: 'shows what it would write, and writes nothing' } },
  examples: ['npx concordat init shop --dry-run', 'npx concordat init shop'],
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
    const next = dryRun ? '' : `Next: cd ${folder} && npm install && npm start && npm test\n`
    return {
      text: `${dryRun ? 'would write' : 'wrote'}\n${listed}${next}`,
      json: { folder, dryRun, files: files.map(({ path }) => path) },
    }
  },
}

export const INIT_COMMANDS: readonly Command[] = [init]
