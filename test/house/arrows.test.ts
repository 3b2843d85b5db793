import { execFile } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DRIVERS, FOLDERS, withArrows } from '../../scripts/arrows.ts'

interface Arrow {
  readonly file: string
  readonly may: readonly string[]
  readonly mayNot: readonly string[]
}

const ADAPTERS = Object.entries(FOLDERS).flatMap(([folder, { adapters }]) =>
  adapters.map((name) => `${folder}/${name}`),
)
const OUTSIDE = ['packages', 'examples', 'test', 'bench', 'scripts']

/** Arrows from the table: the imports that a file of a folder, and of each of its adapters, may and may not have. */
const ARROWS: readonly Arrow[] = Object.entries(FOLDERS).flatMap(([folder, { may, adapters }]) => {
  const names = new Set(may.flatMap((path) => path.split('/')))
  const folders = Object.keys(FOLDERS).filter((other) => other !== folder && !names.has(other))
  const foreign = ADAPTERS.filter((adapter) => !names.has(adapter.split('/').at(-1) as string))
  const opened = may.flatMap((path) => FOLDERS[path]?.open?.map((name) => `${path}/${name}/b.ts`) ?? [])
  const own: Arrow = {
    file: `${folder}/a.ts`,
    may: [...may, ...opened, `${folder}/b.ts`],
    mayNot: [...folders, ...foreign, ...OUTSIDE],
  }
  const others = adapters.map((path) => ({
    file: `${folder}/${path}/a.ts`,
    may: [...may, ...opened, folder, `${folder}/${path}/b.ts`],
    mayNot: [...folders, ...foreign.filter((adapter) => adapter.split('/').at(-1) !== path.split('/').at(-1))],
  }))
  return [own, ...others]
})

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
  await write('outbox/package.ts', `export { x } from '@concordat/nest'`)
  await write('saga/type-of-import.ts', `export type X = import('../locks/index.ts').X`)
  await write('examples/shop/by-name.ts', `export { x } from 'concordat/binder'`)
  await write('examples/shop/by-path.ts', `export { x } from '../../binder/index.ts'`)
  await write('test/saga/by-path.test.ts', `export { x } from '../../saga/index.ts'`)
  await write('test/saga/support.test.ts', `export { x } from '../support/until.ts'`)
  for (const [adapter, { names, but }] of Object.entries(DRIVERS)) {
    for (const name of names) {
      await write(`${adapter}/wire/to-${name}.ts`, `export type { x } from '../${name}/client.ts'`)
      await write(`${adapter}/to-${name}.ts`, `export { x } from './${name}/client.ts'`)
      await write(`${adapter}/sibling/to-${name}.ts`, `export { x } from '../${name}/client.ts'`)
      await write(`${adapter}/${name}/part/inside.ts`, `export { x } from '../client.ts'`)
      await write(`${adapter}/${name}/inside.ts`, `export { x } from '../driver.ts'`)
      for (const file of but) await write(`${adapter}/${file}`, `export { x } from './${name}/client.ts'`)
    }
  }
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

it('files may import along the arrows, in every form', () => {
  const refused = ARROWS.flatMap(({ file, may }) =>
    may.flatMap((target) => [...FORMS.keys()].flatMap((i) => arrowFindings(fixture(file, 'may', target, i)))),
  )
  expect(refused).toEqual([])
})

it('files may import nothing else, in no form', () => {
  const wrong = ARROWS.flatMap(({ file, mayNot }) =>
    mayNot.flatMap((target) =>
      [...FORMS.keys()].flatMap((i) => {
        const found = arrowFindings(fixture(file, 'may-not', target, i))
        const isRefused = found.length === 1 && found[0]?.help.includes(`${file.split('/')[0]} -> `) === true
        return isRefused ? [] : [`form ${i} of ${file} -> ${target}`]
      }),
    ),
  )
  expect(wrong).toEqual([])
})

describe('the linter', () => {
  it('has the arrows of the table', async () => {
    const config = JSON.parse(await readFile('.oxlintrc.json', 'utf8'))
    expect(config, 'run: node scripts/arrows.ts').toEqual(withArrows(config))
  })

  it('refuses the own package by name in the sources, and asks for it in examples and tests', () => {
    expect(arrowFindings('outbox/by-name.ts')).toHaveLength(1)
    expect(arrowFindings('outbox/package.ts')).toHaveLength(1)
    expect(arrowFindings('examples/shop/by-name.ts')).toEqual([])
    expect(arrowFindings('examples/shop/by-path.ts')[0]?.help).toContain('by name')
    expect(arrowFindings('test/saga/by-path.test.ts')[0]?.help).toContain('by name')
    expect(arrowFindings('test/saga/support.test.ts')).toEqual([])
  })

  it.for(Object.entries(DRIVERS))('keeps %s apart from its drivers', ([adapter, { names, but }]) => {
    for (const name of names) {
      for (const file of ['wire/to', 'to', 'sibling/to'])
        expect(arrowFindings(`${adapter}/${file}-${name}.ts`)[0]?.help).toContain('driver.ts is the contract')
      for (const file of [`${name}/part/inside.ts`, `${name}/inside.ts`, ...but])
        expect(arrowFindings(`${adapter}/${file}`)).toEqual([])
    }
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
