/**
 * `npm run build [-- FOLDER]`: writes the published files of each package into its `dist`, below the repository or the given
 * folder. JavaScript and declarations each have one file per subpath, and one per set of sources that several subpaths share:
 * loading three hundred small files would take most of the start-up time of a service, and a fifth of its memory. Nothing is
 * minified. The JavaScript has no comments, because users read those in the declarations. The page of the console, which runs
 * in a browser, is a separate bundle.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type OutputOptions, type RolldownPluginOption, rolldown } from 'rolldown'
import { dts } from 'rolldown-plugin-dts'
import { type Manifest, PACKAGES, type Package } from './packages.ts'
import { buildPage } from './page.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const out = resolve(process.argv[2] ?? root)
const stage = mkdtempSync(join(tmpdir(), 'concordat-build-'))
try {
  process.exitCode = compiled()
  if (process.exitCode === 0) for (const each of PACKAGES) await bundled(each)
} finally {
  rmSync(stage, { recursive: true, force: true })
}
process.chdir(root)
if (process.exitCode === 0) await buildPage(join(out, 'packages/console/dist/page'))

/** Compiles each source file to a JavaScript file and a declaration file in the stage folder. */
function compiled(): number {
  const tsc = ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json', '--outDir', stage]
  return spawnSync(process.execPath, tsc, { cwd: root, stdio: 'inherit' }).status ?? 1
}

async function bundled({ folder, manifest: { bin = {}, exports } }: Package): Promise<void> {
  const from = join(stage, folder)
  const dir = join(out, folder, 'dist')
  rmSync(dir, { recursive: true, force: true })
  await joined(from, [...Object.values(bin), ...targets(exports, 'default')], [], {
    dir,
    entryFileNames: '[name].js',
    chunkFileNames: ({ moduleIds, name }) => `parts/${nameOf(from, moduleIds) ?? name}.js`,
    comments: false,
    // The `name` of an error is the name of its class.
    keepNames: true,
  })
  const declarations = dts({ dtsInput: true, tsconfig: false, oxc: true })
  await joined(from, targets(exports, 'types'), [declarations], {
    dir,
    entryFileNames: '[name].ts',
    chunkFileNames: 'parts/[name].ts',
  })
}

/**
 * Bundles the entries of a package and the files that they import.
 *
 * @param from folder of the package in the stage folder
 */
async function joined(
  from: string,
  files: readonly string[],
  plugins: readonly RolldownPluginOption[],
  output: OutputOptions,
): Promise<void> {
  const bundle = await rolldown({
    input: entries(from, files),
    cwd: from,
    platform: 'node',
    external: (id) => !/^[./]/.test(id),
    plugins: [...plugins],
    // Slow bundling on a busy machine is not a fault of the sources. Every other warning fails the build.
    checks: { bundlerTimings: false },
    onLog: (_level, log) => {
      throw new Error(log.message)
    },
  })
  const { output: made } = await bundle.write(output)
  await bundle.close()
  const foreign = made
    .flatMap((chunk) => ('moduleIds' in chunk ? chunk.moduleIds : []))
    .find((id) => isForeign(from, id))
  if (foreign !== undefined) throw new Error(`${foreign} is of another package than ${from}: import it by name`)
}

/** True for a file of another package; virtual modules of the bundler belong to none. */
function isForeign(from: string, module: string): boolean {
  if (!module.startsWith(stage)) return false
  const path = relative(from, module)
  return path.startsWith('..') || path.startsWith('packages/')
}

/** Maps the name of each entry in `dist`, without its extension, to its file in the stage folder. */
function entries(from: string, files: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    files.map((file) => {
      const path = file.replace(/^(?:\.\/)?dist\//, '')
      return [path.replace(/\.[jt]s$/, ''), join(from, path)]
    }),
  )
}

function targets(exports: Manifest['exports'], condition: 'default' | 'types'): readonly string[] {
  return Object.values(exports).flatMap((to) => (typeof to === 'string' ? [] : to[condition]))
}

/** Joins the path of the last file of a part into one word, such as `core-errors`. */
function nameOf(from: string, modules: readonly string[]): string | undefined {
  const file = modules.findLast((module) => module.startsWith(stage))
  return file === undefined ? undefined : relative(from, file).replace(/\.js$/, '').replaceAll('/', '-')
}
