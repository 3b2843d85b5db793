import { execFile } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

/** Where a file lies, what it may import, what it may not. Paths are from the root of the repository. */
const ARROWS = [
  {
    file: 'core/a.ts',
    may: ['core/b.ts'],
    mayNot: ['binder', 'outbox', 'saga', 'locks', 'election', 'bus', 'core/pg', 'core/opentelemetry'],
  },
  { file: 'core/kysely/a.ts', may: ['core/b.ts'], mayNot: ['binder', 'outbox', 'core/pg'] },
  { file: 'core/opentelemetry/a.ts', may: ['core/b.ts'], mayNot: ['binder', 'outbox', 'core/pg'] },
  { file: 'core/pg/a.ts', may: ['core/b.ts', 'core/pg/b.ts'], mayNot: ['binder', 'locks', 'core/pglite'] },
  { file: 'binder/a.ts', may: ['core', 'binder/b.ts'], mayNot: ['outbox', 'saga', 'locks', 'bus', 'binder/memory'] },
  {
    file: 'binder/kafka/a.ts',
    may: ['core', 'binder', 'binder/kafka/b.ts'],
    mayNot: ['outbox', 'election', 'binder/rabbitmq', 'binder/memory', 'core/pg'],
  },
  {
    file: 'outbox/a.ts',
    may: ['core', 'binder', 'outbox/b.ts'],
    mayNot: ['saga', 'locks', 'core/pg', 'core/kysely', 'binder/kafka'],
  },
  {
    file: 'saga/a.ts',
    may: ['core', 'binder', 'outbox'],
    mayNot: ['locks', 'election', 'core/pglite', 'binder/memory'],
  },
  { file: 'locks/a.ts', may: ['core', 'locks/b.ts'], mayNot: ['binder', 'outbox', 'election', 'locks/redis'] },
  { file: 'locks/redis/a.ts', may: ['core', 'locks'], mayNot: ['binder', 'election', 'locks/memory', 'locks/redlock'] },
  { file: 'locks/redlock/a.ts', may: ['core', 'locks'], mayNot: ['binder', 'election', 'locks/memory', 'locks/redis'] },
  {
    file: 'election/a.ts',
    may: ['core', 'locks'],
    mayNot: ['binder', 'outbox', 'saga', 'bus', 'locks/redis', 'election/redis', 'election/memory'],
  },
  {
    file: 'election/redis/a.ts',
    may: ['core', 'election'],
    mayNot: ['binder', 'bus', 'election/memory', 'locks/redis'],
  },
  { file: 'bus/a.ts', may: ['core', 'binder'], mayNot: ['outbox', 'saga', 'locks', 'election', 'binder/memory'] },
  {
    file: 'testing/a.ts',
    may: ['core', 'binder', 'binder/memory', 'testing/b.ts'],
    mayNot: ['outbox', 'saga', 'locks', 'bus', 'binder/kafka', 'binder/rabbitmq', 'core/pg'],
  },
  { file: 'saga/b.ts', may: [], mayNot: ['examples', 'test', 'bench', 'scripts'] },
] as const

/** Every way to reach another module. */
const FORMS: ReadonlyArray<(target: string) => string> = [
  (target) => `import { x } from '${target}'\nexport const y = x`,
  (target) => `import type { x } from '${target}'\nexport type y = x`,
  (target) => `export { x } from '${target}'`,
  (target) => `export * from '${target}'`,
  (target) => `export type { x } from '${target}'`,
  (target) => `export const x = import('${target}')`,
]

interface Finding {
  readonly rule: string
  readonly help: string
  readonly file: string
}

let root: string
let findings: readonly Finding[]

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'concordat-arrows-'))
  await copyFile('.oxlintrc.json', join(root, '.oxlintrc.json'))
  for (const { file, may, mayNot } of ARROWS) {
    for (const target of may) await writeForms(file, 'may', target)
    for (const target of mayNot) await writeForms(file, 'may-not', target)
  }
  await write('outbox/by-name.ts', `export { x } from 'concordat/binder'`)
  await write('saga/type-of-import.ts', `export type X = import('../locks/index.ts').X`)
  await write('examples/shop/by-name.ts', `export { x } from 'concordat/binder'`)
  await write('examples/shop/by-path.ts', `export { x } from '../../binder/index.ts'`)
  await write('test/saga/by-path.test.ts', `export { x } from '../../saga/index.ts'`)
  await write('test/saga/support.test.ts', `export { x } from '../support/until.ts'`)
  await write('core/ring-a.ts', `import { b } from './ring-b.ts'\nexport const a = (): number => b`)
  await write('core/ring-b.ts', `import { a } from './ring-a.ts'\nexport const b: number = a()`)
  findings = await lint()
})
afterAll(() => rm(root, { recursive: true, force: true }))

async function writeForms(file: string, kind: 'may' | 'may-not', target: string): Promise<void> {
  const path = relative(dirname(file), target.endsWith('.ts') ? target : `${target}/index.ts`)
  const specifier = path.startsWith('.') ? path : `./${path}`
  for (const [i, form] of FORMS.entries()) await write(fixture(file, kind, target, i), form(specifier))
}

function fixture(file: string, kind: string, target: string, form: number): string {
  return file.replace(/\.ts$/, `.${kind}.${target.replaceAll('/', '-')}.${form}.ts`)
}

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true })
  await writeFile(join(root, path), `${text}\n`)
}

async function lint(): Promise<Finding[]> {
  const bin = join(process.cwd(), 'node_modules/oxlint/bin/oxlint')
  const run = promisify(execFile)(process.execPath, [bin, '--format', 'json'], {
    cwd: root,
    maxBuffer: 64 * 1024 * 1024,
  })
  const { stdout } = await run.catch((error: { stdout: string }) => error)
  const report = JSON.parse(stdout) as { diagnostics: Array<{ code: string; help?: string; filename: string }> }
  return report.diagnostics.map(({ code, help, filename }) => ({ rule: code, help: help ?? '', file: filename }))
}

const arrowFindings = (file: string): Finding[] =>
  findings.filter((finding) => finding.file === file && finding.rule === 'eslint(no-restricted-imports)')

describe.for(ARROWS)('$file', ({ file, may, mayNot }) => {
  it.for(may.map(String))('may import %s', (target) => {
    for (const i of FORMS.keys()) expect(arrowFindings(fixture(file, 'may', target, i))).toEqual([])
  })

  it.for(mayNot.map(String))('may not import %s, in no form', (target) => {
    for (const i of FORMS.keys()) {
      const found = arrowFindings(fixture(file, 'may-not', target, i))
      expect(found, `form ${i} of ${file} -> ${target}`).toHaveLength(1)
      expect(found[0]?.help).toMatch(/core|->/)
    }
  })
})

describe('the linter', () => {
  it('refuses the own package by name in the sources, and asks for it in examples and tests', () => {
    expect(arrowFindings('outbox/by-name.ts')).toHaveLength(1)
    expect(arrowFindings('examples/shop/by-name.ts')).toEqual([])
    expect(arrowFindings('examples/shop/by-path.ts')[0]?.help).toContain('by name')
    expect(arrowFindings('test/saga/by-path.test.ts')[0]?.help).toContain('by name')
    expect(arrowFindings('test/saga/support.test.ts')).toEqual([])
  })

  it('refuses types taken by import() instead of an import', () => {
    const rules = findings.filter(({ file }) => file === 'saga/type-of-import.ts').map(({ rule }) => rule)
    expect(rules).toEqual(['typescript(consistent-type-imports)'])
  })

  it('refuses import cycles', () => {
    const ring = findings.filter(({ file, rule }) => file.startsWith('core/ring-') && rule === 'import(no-cycle)')
    expect(ring.map(({ file }) => file).sort()).toEqual(['core/ring-a.ts', 'core/ring-b.ts'])
  })
})
