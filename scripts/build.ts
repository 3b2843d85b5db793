/**
 * `npm run build [-- FOLDER]`: writes what a user installs into `dist` or the folder given. JavaScript and declarations are
 * each one file per subpath and one per set of sources that several subpaths share: loading three hundred small files is most
 * of the time until a service starts, and a fifth of its memory. Nothing is minified. The JavaScript has no comments, since
 * the declarations carry those that a user reads. The console's page, which runs in a browser, is a bundle of its own.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type OutputOptions, type RolldownPluginOption, rolldown } from 'rolldown'
import { dts } from 'rolldown-plugin-dts'
import { buildPage } from './page.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const out = resolve(process.argv[2] ?? `${root}dist`)

interface Manifest {
  readonly bin: Readonly<Record<string, string>>
  readonly exports: Readonly<Record<string, string | { readonly default: string; readonly types: string }>>
}

rmSync(out, { recursive: true, force: true })
const stage = mkdtempSync(join(tmpdir(), 'concordat-build-'))
try {
  process.exitCode = compiled()
  if (process.exitCode === 0) {
    await joined(
      entries(({ bin, exports }) => [...Object.values(bin), ...targets(exports, 'default')]),
      [],
      {
        entryFileNames: '[name].js',
        chunkFileNames: ({ moduleIds, name }) => `parts/${nameOf(moduleIds.findLast(isFile)) ?? name}.js`,
        comments: false,
        // Errors are called as their classes are.
        keepNames: true,
      },
    )
    const declarations = dts({ dtsInput: true, tsconfig: false, oxc: true })
    await joined(
      entries(({ exports }) => targets(exports, 'types')),
      [declarations],
      {
        entryFileNames: '[name].ts',
        chunkFileNames: 'parts/[name].ts',
      },
    )
  }
} finally {
  rmSync(stage, { recursive: true, force: true })
}
process.chdir(root)
if (process.exitCode === 0) await buildPage(join(out, 'operate/console/page'))

/** Compiles each source file to a JavaScript file and a declaration file in the stage. */
function compiled(): number {
  const tsc = ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json', '--outDir', stage]
  return spawnSync(process.execPath, tsc, { cwd: root, stdio: 'inherit' }).status ?? 1
}

/** Bundles the entries and what they import into `out`. */
async function joined(
  input: Record<string, string>,
  plugins: readonly RolldownPluginOption[],
  output: OutputOptions,
): Promise<void> {
  const bundle = await rolldown({
    input,
    cwd: stage,
    platform: 'node',
    external: (id) => !/^[./]/.test(id),
    plugins: [...plugins],
    // How long it takes on a busy machine is no mistake of the sources; every other warning is one.
    checks: { bundlerTimings: false },
    onLog: (_level, log) => {
      throw new Error(log.message)
    },
  })
  await bundle.write({ dir: out, ...output })
  await bundle.close()
}

/** Files of the stage by their name in `out` without the extension. */
function entries(listed: (manifest: Manifest) => readonly string[]): Record<string, string> {
  const files = listed(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest)
  return Object.fromEntries(
    files.map((file) => {
      const path = file.replace(/^(?:\.\/)?dist\//, '')
      return [path.replace(/\.[jt]s$/, ''), join(stage, path)]
    }),
  )
}

function targets(exports: Manifest['exports'], condition: 'default' | 'types'): readonly string[] {
  return Object.values(exports).flatMap((to) => (typeof to === 'string' ? [] : to[condition]))
}

/** Not a module that the bundler has made up. */
function isFile(module: string): boolean {
  return module.startsWith(stage)
}

/** Of a file of the stage: where its source is, as one word. */
function nameOf(file: string | undefined): string | undefined {
  return file === undefined ? undefined : relative(stage, file).replace(/\.js$/, '').replaceAll('/', '-')
}
