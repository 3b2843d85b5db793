/** The program of `docs/start/getting-started.md` to kill and restart, in a project of two dependencies. */
import { type ChildProcess, spawn } from 'node:child_process'
import { readFile, rm } from 'node:fs/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { install, type Packed, pack, typeCheck } from './support/tarball.ts'

const DEPENDENCIES = ['concordat', '@electric-sql/pglite']
const LIMIT_MS = 60_000

const page = await readFile('docs/start/getting-started.md', 'utf8')
const marked = /<!-- kill -->\n+```ts\n(?<code>[\s\S]*?)```[\s\S]*?```text\n(?<prints>[\s\S]*?)```/.exec(page)
const code = marked?.groups?.['code'] ?? ''
const prints = marked?.groups?.['prints'] ?? ''

let packed: Packed
let project: string
beforeAll(async () => {
  packed = await pack()
  project = await install(packed, 'two-dependencies', ['@electric-sql/pglite', '@types/node'])
  await typeCheck(project, { 'shop.ts': code }, ['--skipLibCheck'])
}, 180_000)
afterAll(() => rm(packed.folder, { recursive: true, force: true }))

it('the durable saga has at most 25 lines, and imports nothing but its two dependencies', () => {
  expect(code.trimEnd().split('\n').length).toBeLessThanOrEqual(25)
  const imported = [...code.matchAll(/from '(?<name>[^']+)'/g)].map(({ groups }) => groups?.['name'] ?? '')
  expect(imported.length).toBeGreaterThan(0)
  for (const name of imported) expect(DEPENDENCIES.some((one) => name === one || name.startsWith(`${one}/`))).toBe(true)
})

it(
  'killed in the middle and run again it prints the page’s output, and repeats no step',
  async () => {
    const first = start()
    await first.says('reserved\n')
    first.child.kill('SIGKILL')
    expect(await first.ended).toEqual({ code: null, stdout: 'reserved\n' })
    const second = await start().ended
    // A kill between the step and the commit that remembers it makes the step come again.
    expect({ ...second, stdout: second.stdout.replace(/^reserved\n/, '') }).toEqual({ code: 0, stdout: prints })
    expect(await start().ended).toEqual({ code: 0, stdout: 'completed\n' })
  },
  3 * LIMIT_MS,
)

interface Running {
  readonly child: ChildProcess
  /** Resolves when it has printed this. @throws when it ends before */
  says(text: string): Promise<void>
  readonly ended: Promise<{ readonly code: number | null; readonly stdout: string }>
}

function start(): Running {
  const child = spawn(process.execPath, ['--no-warnings', 'shop.ts'], {
    cwd: project,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let stdout = ''
  let look = (): void => {}
  child.stdout.on('data', (chunk) => {
    stdout += String(chunk)
    look()
  })
  const ended = new Promise<{ code: number | null; stdout: string }>((resolve) =>
    child.once('close', (code) => resolve({ code, stdout })),
  )
  return {
    child,
    ended,
    says: (text) =>
      new Promise((resolve, reject) => {
        look = () => void (stdout.includes(text) && resolve())
        look()
        void ended.then(() => reject(new Error(`it ended and printed ${stdout}`)))
      }),
  }
}
