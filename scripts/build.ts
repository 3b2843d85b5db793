/**
 * `npm run build [-- FOLDER]`: writes the published files into `dist` or the given folder. JavaScript and declarations
 * each have one file per subpath, and one per set of sources that several subpaths share: loading three hundred small
 * files would take most of the start-up time of a service, and a fifth of its memory. Nothing is minified. The
 * JavaScript has no comments, because users read those in the declarations. The page of the console, which runs in a
 * browser, is a separate bundle.
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
        // The `name` of an error is the name of its class.
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

/** Compiles each source file to a JavaScript file and a declaration file in the stage folder. */
function compiled(): number {
  const tsc = ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json', '--outDir', stage]
  return spawnSync(process.execPath, tsc, { cwd: root, stdio: 'inherit' }).status ?? 1
}

/** Bundles the entries and the files that they import into `out`. */
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
    // Slow bundling on a busy machine is not a fault of the sources. Every other warning fails the build.
    checks: { bundlerTimings: false },
    onLog: (_level, log) => {
      throw new Error(log.message)
    },
  })
  await bundle.write({ dir: out, ...output })
  await bundle.close()
}

/** Maps the name of each entry in `out`, without its extension, to its file in the stage folder. */
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

/** Excludes the virtual modules of the bundler. */
function isFile(module: string): boolean {
  return module.startsWith(stage)
}

/** Joins the path of a file in the stage folder into one word, such as `core-errors`. */
function nameOf(file: string | undefined): string | undefined {
  return file === undefined ? undefined : relative(stage, file).replace(/\.js$/, '').replaceAll('/', '-')
}
