/** The project that `npx concordat init` writes, from the packed package in an empty folder. */
import { execFile } from 'node:child_process'
import { mkdir, readFile, rm, symlink } from 'node:fs/promises'
import { delimiter, dirname, join, relative, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makingDatabases } from '../support/pglite-copy.ts'
import { install, type Packed, pack } from './support/tarball.ts'

let packed: Packed
let shop: string

/** Runs a command with this Node, which may not be the machine's default. */
async function run(command: string, args: readonly string[], cwd: string, env = process.env): Promise<string> {
  const path = `${dirname(process.execPath)}${delimiter}${process.env['PATH']}`
  const { stdout } = await promisify(execFile)(command, args, { cwd, env: { ...env, PATH: path } })
  return stdout
}

async function link(to: string, from: string): Promise<void> {
  await mkdir(dirname(from), { recursive: true })
  await symlink(to, from)
}

interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>
  readonly devDependencies: Readonly<Record<string, string>>
}

/** Installs from the repository what `npm install` would, without a network. */
async function installIn(folder: string, project: string): Promise<Manifest> {
  const manifest = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as Manifest
  const modules = join(folder, 'node_modules')
  for (const name of Object.keys({ ...manifest.dependencies, ...manifest.devDependencies })) {
    const from = /^@?concordat\b/.test(name) ? join(project, 'node_modules', name) : resolve('node_modules', name)
    await link(from, join(modules, name))
  }
  for (const tool of ['vitest', 'tsc']) await link(resolve('node_modules/.bin', tool), join(modules, '.bin', tool))
  return manifest
}

beforeAll(async () => {
  packed = await pack()
  const project = await install(packed, 'empty', ['@electric-sql/pglite', 'pg'])
  await run('npx', ['--no-install', 'concordat', 'init', 'shop', '--no-install'], project)
  shop = join(project, 'shop')
  const { dependencies, devDependencies } = await installIn(shop, project)
  for (const name of ['concordat', '@concordat/cli'])
    expect({ ...dependencies, ...devDependencies }[name]).toBe(
      `file:${relative(shop, packed.tarballs.get(name) ?? '')}`,
    )
}, 600_000)
afterAll(() => rm(packed.folder, { recursive: true, force: true }))

describe('the starter', { timeout: 600_000 }, () => {
  it('places orders with npm start, and ends', async () => {
    expect(await run('npm', ['start', '--silent'], shop, makingDatabases())).toBe(
      'o-1: completed\no-2: compensated: stock.sold_out\no-3: completed\n',
    )
  })

  it('passes its tests with npm test', async () => {
    expect(await run('npm', ['test', '--silent'], shop)).toMatch(/2 passed/)
  })

  it('type-checks with npm run check', async () => {
    expect(await run('npm', ['run', '--silent', 'check'], shop)).toBe('')
  })

  it('is described by npx concordat topology', async () => {
    const stdout = await run('npx', ['--no-install', 'concordat', 'topology'], dirname(shop)).catch(
      (error: { stderr: string }) => error.stderr,
    )
    expect(stdout).toContain('this needs MODULE')
    const project = dirname(shop)
    const shown = await run('npx', ['--no-install', 'concordat', 'topology', 'shop/concordat.config.ts'], project)
    expect(shown).toContain('saga place-order v1')
  })
})
