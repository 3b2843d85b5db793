/**
 * `npm run build [-- FOLDER]`: what a user installs, into `dist` or the folder given. A declaration file for each source file;
 * the JavaScript in one file for each subpath and each set of sources that several of them share, since loading three
 * hundred small files is most of the time until a service starts, and a fifth of its memory. Nothing is minified, and the
 * maps lead to the sources. The page of the console, which runs in a browser, is a bundle of its own.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Plugin, rolldown } from 'rolldown'
import { buildPage } from './page.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const out = resolve(process.argv[2] ?? `${root}dist`)

interface Manifest {
  readonly bin: Readonly<Record<string, string>>
  readonly exports: Readonly<Record<string, string | { readonly default: string }>>
}

/** With the maps of the compiler, so that those of the bundle lead to the sources. */
const mapped: Plugin = {
  name: 'concordat:maps',
  load: (id) => ({
    code: readFileSync(id, 'utf8').replace(/\n\/\/# sourceMappingURL=\S+\s*$/, '\n'),
    map: readFileSync(`${id}.map`, 'utf8'),
  }),
}

rmSync(out, { recursive: true, force: true })
const stage = mkdtempSync(join(tmpdir(), 'concordat-build-'))
try {
  process.exitCode = compiled()
  if (process.exitCode === 0) await joined()
} finally {
  rmSync(stage, { recursive: true, force: true })
}
process.chdir(root)
if (process.exitCode === 0) await buildPage(join(out, 'operate/console/page'))

/** One file for each source file: declarations where they belong, JavaScript for now. */
function compiled(): number {
  const tsc = ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json']
  const folders = ['--outDir', stage, '--declarationDir', out]
  return spawnSync(process.execPath, [...tsc, ...folders], { cwd: root, stdio: 'inherit' }).status ?? 1
}

async function joined(): Promise<void> {
  const bundle = await rolldown({
    input: entries(),
    cwd: stage,
    platform: 'node',
    external: (id) => !/^[./]/.test(id),
    plugins: [mapped],
    // How long it takes on a busy machine is no mistake of the sources; every other warning is one.
    checks: { bundlerTimings: false },
    onLog: (_level, log) => {
      throw new Error(log.message)
    },
  })
  await bundle.write({
    dir: out,
    entryFileNames: '[name].js',
    // As the source that the others in it were put to, so that a stack trace says where one is.
    chunkFileNames: ({ moduleIds, name }) => `parts/${nameOf(moduleIds.findLast(isFile)) ?? name}.js`,
    sourcemap: true,
    // Errors are called as their classes are.
    keepNames: true,
  })
  await bundle.close()
}

/** Every subpath and every command. */
function entries(): Record<string, string> {
  const { bin, exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest
  const files = [
    ...Object.values(bin),
    ...Object.values(exports).flatMap((to) => (typeof to === 'string' ? [] : to.default)),
  ]
  return Object.fromEntries(
    files.map((file) => {
      const path = file.replace(/^(?:\.\/)?dist\//, '')
      return [path.replace(/\.js$/, ''), join(stage, path)]
    }),
  )
}

/** Not a module that the bundler has made up. */
function isFile(module: string): boolean {
  return module.startsWith(stage)
}

/** Of a file of the stage: where its source is, as one word. */
function nameOf(file: string | undefined): string | undefined {
  return file === undefined ? undefined : relative(stage, file).replace(/\.js$/, '').replaceAll('/', '-')
}
