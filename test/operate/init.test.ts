/** `concordat init` as a process; the project itself runs in `test/house/starter.test.ts`. */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const MAIN = ['--conditions=concordat-source', resolve('packages/cli/commands/main.ts')]
let folder: string

interface Ran {
  readonly stdout: string
  readonly stderr: string
  readonly code: number
}

const init = (...args: string[]): Promise<Ran> =>
  promisify(execFile)(process.execPath, [...MAIN, 'init', ...args], { cwd: folder }).then(
    ({ stdout, stderr }) => ({ stdout, stderr, code: 0 }),
    ({ stdout, stderr, code }: Ran) => ({ stdout, stderr, code }),
  )

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'concordat-init-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

describe('concordat init', { timeout: 180_000 }, () => {
  test('shows what it would write, and writes nothing', async () => {
    const { stdout, code } = await init('dry', '--dry-run', '--json')
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ folder: 'dry', dryRun: true })
    expect((JSON.parse(stdout) as { files: string[] }).files).toContain('src/main.ts')
    expect(await readdir(folder)).not.toContain('dry')
  })

  test('writes a project with the name of the folder and versions that were tested', async () => {
    await mkdir(join(folder, 'shop'))
    const { stdout, stderr, code } = await init('shop', '--no-install')
    expect({ stderr, code }).toEqual({ stderr: '', code: 0 })
    expect(stdout).toMatch(/Next: cd shop && npm install && npm start && npm test\n$/)
    const manifest = JSON.parse(await readFile(join(folder, 'shop/package.json'), 'utf8')) as Record<string, unknown>
    const ours = JSON.parse(await readFile('package.json', 'utf8')) as {
      version: string
      devDependencies: Record<string, string>
    }
    const { node, vitest, zod } = ours.devDependencies
    expect(manifest).toMatchObject({
      name: 'shop',
      dependencies: { concordat: ours.version, zod },
      devDependencies: { '@concordat/cli': ours.version, node, vitest },
      allowScripts: { node: true },
    })
    expect(await readFile(join(folder, 'shop/README.md'), 'utf8')).toMatch(/^# shop\n/)
    expect(await readdir(join(folder, 'shop'))).toContain('.gitignore')
  })

  test('refuses a folder that is not empty, and touches nothing in it', async () => {
    await mkdir(join(folder, 'full'))
    await writeFile(join(folder, 'full/package.json'), 'mine')
    expect(await init('full')).toEqual({
      stdout: '',
      stderr: 'concordat: full is not empty (package.json is in it): name a new folder\n',
      code: 1,
    })
    expect(await readdir(join(folder, 'full'))).toEqual(['package.json'])
  })

  test.each([
    [['Shop'], 2, /its name is the package's/],
    [[], 2, /this needs FOLDER/],
    [['one', 'two'], 2, /unexpected argument "two"/],
  ])('refuses %j', async (args, code, says) => {
    const ran = await init(...args)
    expect(ran.stderr).toMatch(says)
    expect(ran.code).toBe(code)
  })
})
