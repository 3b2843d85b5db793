/** `node scripts/page.ts [FOLDER]`: bundles the page of the console into the folder; `scripts/build.ts` calls it. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build, defaultClientConditions } from 'vite'

const root = fileURLToPath(new URL('../packages/console/page', import.meta.url))

/** Packages in the bundle besides our own code. */
const BUNDLED = ['preact']

/** Writes files with fixed names, and no inline script or style: the content policy of the console allows none. */
export async function buildPage(folder: string): Promise<void> {
  await build({
    root,
    base: './',
    configFile: false,
    logLevel: 'warn',
    // The sources of our packages: they need no build before this one.
    resolve: { conditions: ['concordat-source', ...defaultClientConditions] },
    oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
    build: {
      outDir: folder,
      emptyOutDir: true,
      target: 'es2022',
      modulePreload: false,
      assetsInlineLimit: 0,
      rollupOptions: { output: { entryFileNames: 'console.js', assetFileNames: 'console[extname]' } },
    },
  })
  const licences = BUNDLED.map((name) => `${name}\n\n${readFileSync(`node_modules/${name}/LICENSE`, 'utf8').trim()}\n`)
  writeFileSync(join(folder, 'LICENSES'), licences.join('\n'))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await buildPage(process.argv[2] ?? fileURLToPath(new URL('../packages/console/dist/page', import.meta.url)))
}
